"""Loggers get every epoch's figures, the final ones and the pictures; without them none of their packages is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Answer, runs_of
from tlx.config.groups import CsvLogger, MlflowLogger, TensorboardLogger
from tlx.errors import InputError, MachineError
from tlx.learner.loggers import open_logger

Command = Callable[..., Answer]


def words(photos: Path, *more: str) -> tuple[str, ...]:
    return ("case=large_similar", *TINY, "data=folder", f"data.root={photos}", "trainer.max_epochs=2", *more)


def test_tensorboard_holds_curves_final_figures_and_pictures(tlx: Command, tmp_path: Path, photos: Path) -> None:
    answer = tlx(*words(photos, "freeze=lp_ft", "logger=tensorboard", "report=true"))
    assert answer.code == 0, answer.err
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(runs_of(tmp_path)[0] / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"val/accuracy", "train/loss", "final/test/accuracy"} <= set(tags["scalars"])
    assert len(events.Scalars("train/loss")) == 2
    assert {"surgery", "confusion", "reliability"} <= set(tags["images"])


@pytest.mark.filterwarnings("ignore:.*noload.*:DeprecationWarning")  # MLflow's own use of SQLAlchemy
def test_mlflow_has_a_run_of_the_folders_name(tlx: Command, tmp_path: Path, photos: Path) -> None:
    answer = tlx(*words(photos, "logger=mlflow", "report=true"))
    assert answer.code == 0, answer.err
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{runs_of(tmp_path)[0].parent / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("tlx").experiment_id])
    assert run.info.run_name == runs_of(tmp_path)[0].name
    assert run.info.status == "FINISHED"
    assert {"val/accuracy", "final/test/accuracy"} <= set(run.data.metrics)
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2
    assert run.data.params["optimizer.kind"]
    assert not (tmp_path / "mlruns").exists()
    assert {"surgery.png", "confusion.png"} <= {file.path for file in client.list_artifacts(run.info.run_id)}


def test_wandb_offline_keeps_a_run_on_this_machine(
    tlx: Command, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    answer = tlx(*words(photos, "logger=wandb", "report=true"))
    assert answer.code == 0, answer.err
    folder = runs_of(tmp_path)[0]
    assert list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert list(folder.glob("wandb/offline-run-*/files/media/images/*.png"))


@pytest.mark.parametrize(("config", "package"), [(TensorboardLogger(), "tensorboard"), (MlflowLogger(), "mlflow")])
def test_a_missing_package_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: TensorboardLogger, package: str
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}")

    monkeypatch.setattr("tlx.learner.loggers._opened", missing)
    with pytest.raises(InputError, match=rf"pip install 'tlx\[{package}\]'"):
        open_logger(config, tmp_path, {})


def test_a_server_out_of_reach_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host\nmore")

    monkeypatch.setattr("tlx.learner.loggers._opened", refused)
    with pytest.raises(MachineError, match="logger=mlflow cannot be opened: no route to host"):
        open_logger(MlflowLogger(), tmp_path, {})


def test_the_table_of_epochs_needs_no_package(tmp_path: Path) -> None:
    before = set(sys.modules)
    assert open_logger(CsvLogger(), tmp_path, {"a": {"b": 1}}) is None
    assert not {"mlflow", "wandb", "tensorboard"} & (set(sys.modules) - before)


@pytest.mark.slow
def test_of_two_processes_one_writes(tmp_path: Path, photos: Path) -> None:
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "callbacks.progress=false")
    command = [
        sys.executable,
        "-m",
        "tlx",
        *words(photos, *two, "logger=tensorboard", f"hydra.run.dir={tmp_path / 'run'}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run" / "tensorboard"
    assert len({file.name.split(".")[-2] for file in folder.glob("events*")}) == 1  # a file names its process
    events = EventAccumulator(str(folder))
    events.Reload()
    steps = [event.step for event in events.Scalars("train/loss")]
    assert len(steps) == len(set(steps)) == 2
    assert {"surgery", "confusion"} <= set(events.Tags()["images"])
