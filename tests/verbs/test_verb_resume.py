"""Interrupted by a real signal, resumed, and bit for bit where the uninterrupted run is."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tests.interrupting import RUN, Command, differences, interrupt_after, interrupted_and_resumed, state_of
from tlx.config.groups import BankFeatures, CsvLogger, NoFeatures, TensorboardLogger
from tlx.config.roots import OwnBackbone
from tlx.data.order import Order
from tlx.results.run_folder import RunFolder
from tlx.verbs.resume import saved_config

POINTS = (
    (1, "on_train_batch_end"),  # the first step
    (4, "on_train_batch_end"),  # the last of the first epoch
    (7, "on_train_batch_end"),  # inside the second
    (8, "on_validation_batch_end"),  # in a validation
    (2, "on_train_epoch_end"),  # between epochs
)
QUICK = POINTS[2:4]  # with workers as well; the other points with workers are slow


@pytest.fixture
def whole(tlx: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return a run that nothing interrupted, with so many workers, in ``whole``; trained once for all tests."""

    def made(workers: int = 0) -> Path:
        kept = tmp_path_factory.getbasetemp() / f"whole_with_{workers}"
        if not kept.exists():
            assert tlx(*RUN, f"data.workers={workers}", "hydra.run.dir=whole").code == 0
            shutil.copytree(tmp_path / "whole", kept)
        else:
            shutil.copytree(kept, tmp_path / "whole")
        return tmp_path / "whole"

    return made


@pytest.mark.parametrize(
    ("step", "hook", "workers"),
    [
        *((*point, 0) for point in POINTS),
        *(pytest.param(*point, 2, marks=[] if point in QUICK else pytest.mark.slow) for point in POINTS),
    ],
)
def test_resume_is_exact(
    tlx: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[[int], Path],
    step: int,
    hook: str,
    workers: int,
) -> None:
    words = (*RUN, f"data.workers={workers}")
    whole(workers)
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, step, hook)
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_resume_is_exact_with_a_frozen_trunk_and_accumulation(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*RUN, "freeze=trunk", "features=off", "trainer.accumulate=2")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 6, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_an_order_that_is_replayed_is_noticed(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an order that forgets where the run stopped makes the comparison above fail."""
    assert tlx(*RUN, "hydra.run.dir=whole").code == 0
    monkeypatch.setattr(Order, "start", property(lambda _: (0, 0), lambda _, __: None), raising=False)
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, RUN, 7, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed)


def test_sigint_ends_with_130(tlx: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 2, "on_train_batch_end", signal.SIGINT)
    answer = tlx(*RUN)
    assert answer.code == 130
    assert "interrupted by SIGINT" in answer.err
    assert "Traceback" not in answer.err


def test_a_signal_before_anything_is_saved_leaves_a_run_that_resumes(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlx.training import phases

    def killed(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)

    assert tlx("case=small_similar", *TINY, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        patched.setattr(phases, "solve", killed)
        assert tlx("case=small_similar", *TINY, "hydra.run.dir=broken").code == 143
    assert tlx("resume", "run=broken").code == 0
    whole, again = (json.loads((tmp_path / f / "result.json").read_text()) for f in ("whole", "broken"))
    assert whole["fingerprints"] == again["fingerprints"]
    assert whole["metrics"] == again["metrics"]


def test_a_damaged_state_costs_the_steps_since_the_one_before_and_nothing_else(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tlx(*RUN, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        interrupt_after(patched, 6, "on_train_batch_end", signal.SIGTERM)
        assert tlx(*RUN, "hydra.run.dir=broken").code == 143
    last = tmp_path / "broken" / "checkpoints" / "train" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 16
    last.write_bytes(content)
    answer = tlx("resume", "run=broken")
    assert answer.code == 0, answer.err
    assert "going on from the state before it" in answer.out
    assert "goes on in epoch 2 of 3, from its start" in answer.out
    assert differences(state_of(tmp_path / "whole"), state_of(tmp_path / "broken")) == []


def test_a_run_that_is_under_way_is_not_resumed(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*RUN, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    (tmp_path / "run" / "result.json").unlink()
    with RunFolder(tmp_path / "run").alone():
        answer = tlx("resume", "run=run")
    assert (answer.code, "another process works in run" in answer.err) == (2, True), answer.err
    assert not (tmp_path / "run" / "failure.json").exists()
    assert tlx("resume", "run=run").code == 0


def test_resume_extends_a_finished_run_and_says_what_happens_to_the_schedule(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*RUN, "hydra.run.dir=run").code == 0
    finished = tlx("resume", "run=run")
    assert finished.code == 0
    assert "nothing is left to do" in finished.out
    extended = tlx("resume", "run=run", "trainer.max_epochs=5")
    assert extended.code == 0
    assert "3 epochs become 5" in extended.out
    assert "stretched" in extended.out
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 6
    assert json.loads((tmp_path / "run" / "config.json").read_text())["trainer"]["max_epochs"] == 5


def test_a_phase_with_epochs_of_its_own_is_extended_by_them_alone(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*RUN, "freeze=lp_ft", "freeze.finetune.epochs=2", "hydra.run.dir=run").code == 0
    answer = tlx("resume", "run=run", "trainer.max_epochs=9")
    assert answer.code == 2
    told = "trainer.max_epochs=9 extends nothing: phase finetune has epochs of its own; extend it by "
    assert f"{told}freeze.finetune.epochs=N, above 2" in answer.err
    answer = tlx("resume", "run=run", "freeze.finetune.epochs=1")
    assert answer.code == 2
    assert "freeze.finetune.epochs=1 is less than the run's 2" in answer.err
    answer = tlx("resume", "run=run", "freeze.finetune.epochs=4")
    assert answer.code == 0, answer.err
    assert "finetune: 2 epochs become 4; the cosine schedule is stretched over them" in answer.out
    assert "phase finetune: goes on in epoch 3 of 4, from its start" in answer.out
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:2] for row in rows] == [["finetune", str(epoch)] for epoch in (-1, 0, 1, 2, 3)]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["freeze"]["finetune"]["epochs"] == 4
    assert "nothing is left to do" in tlx("resume", "run=run", "freeze.finetune.epochs=4").out


def test_what_has_no_such_epochs_is_not_extended(tlx: Command) -> None:
    assert tlx(*RUN, "hydra.run.dir=run").code == 0
    answer = tlx("resume", "run=run", "freeze.finetune.epochs=4")
    assert answer.code == 2
    assert "this run has no such phase; extend it by trainer.max_epochs=N, above 3" in answer.err
    assert tlx(*RUN, "freeze=trunk", "hydra.run.dir=solved").code == 0
    answer = tlx("resume", "run=solved", "trainer.max_epochs=4")
    assert answer.code == 2
    assert "solved on features and has no epochs to extend" in answer.err


def test_resume_says_where_it_goes_on_as_the_progress_counts(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step, hook, told in (
        (6, "on_train_batch_end", "goes on in epoch 2 of 3, after 2 of 4 batches"),
        (1, "on_train_epoch_end", "goes on in epoch 2 of 3, from its start"),
        (3, "on_train_epoch_end", "all of its 3 epochs are done"),
    ):
        with monkeypatch.context() as patched:
            interrupt_after(patched, step, hook, signal.SIGTERM)
            assert tlx(*RUN, f"hydra.run.dir=run{step}").code == 143
        answer = tlx("resume", f"run=run{step}")
        assert answer.code == 0, answer.err
        assert f"resume    {told}\n" in answer.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("optimizer.lr=1",), "optimizer.lr"),
        (("freeze=none",), "freeze"),
        (("trainer.max_epochs=2",), "trainer.max_epochs=2"),
        (("trainer.precision=16-mixed",), "trainer.precision"),
    ],
)
def test_resume_refuses_what_would_change_the_result(
    tlx: Command, whole: Callable[[], Path], words: tuple[str, ...], named: str
) -> None:
    whole()
    answer = tlx("resume", "run=whole", *words)
    assert answer.code == 2
    assert named in answer.err


def test_resume_of_no_run(tlx: Command) -> None:
    answer = tlx("resume", "run=nowhere")
    assert answer.code == 2
    assert "nowhere holds no run" in answer.err
    assert tlx("resume").code == 2


@pytest.mark.parametrize("policy", ["trunk", "none", "lp_ft"])
def test_a_run_of_an_earlier_version_is_resumed_and_evaluated(tlx: Command, tmp_path: Path, policy: str) -> None:
    """Its config called features in memory ``memory``, and knew no pace."""
    words = (
        *RUN,
        f"freeze={policy}",
        "trainer.precision=32",
        "trainer.memory_format=channels_last",
        "features.dir=null",
    )
    assert tlx(*words, "augment=none", "hydra.run.dir=run").code == 0
    folder = tmp_path / "run"
    result = json.loads((folder / "result.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    config["features"] = {"kind": "memory", "profile_up_to": 2000}
    config["logger"] = {"kind": "csv", "tensorboard": False}
    del config["report"]
    for name in ("memory_format", "compile", "checkpointing", "cache_dir"):
        del config["trainer"][name]
    (folder / "config.json").write_text(json.dumps(config))
    decisions = folder / "checkpoints" / "decisions.json"
    taken = json.loads(decisions.read_text())
    decisions.write_text(json.dumps({name: value for name, value in taken.items() if not name.startswith("pace/")}))
    answer = tlx("evaluate", "run=run")
    assert answer.code == 0, answer.err
    assert f"{result['metrics']['test']['loss']:.4f}" in answer.out
    (folder / "result.json").unlink()
    answer = tlx("resume", "run=run")
    assert answer.code == 0, answer.err
    again = json.loads((folder / "result.json").read_text())
    assert again["fingerprints"] == result["fingerprints"]
    assert again["metrics"] == result["metrics"]


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ({"kind": "memory"}, BankFeatures(dir=None)),
        ({"kind": "memory", "profile_up_to": 7}, BankFeatures(dir=None, profile_up_to=7)),
        ({"kind": "off"}, NoFeatures()),
        ({"kind": "bank", "dir": None}, BankFeatures(dir=None)),
    ],
)
def test_features_are_read_in_the_words_of_their_time(
    whole: Callable[[], Path], features: dict[str, Any], told: object
) -> None:
    plain = {**json.loads((whole() / "config.json").read_text()), "features": features}
    assert saved_config(plain, OwnBackbone()).features == told


@pytest.mark.parametrize(("was", "told"), [(False, CsvLogger()), (True, TensorboardLogger())])
def test_a_logger_that_was_a_switch_is_read(whole: Callable[[], Path], was: bool, told: object) -> None:
    plain = json.loads((whole() / "config.json").read_text())
    logger = {"kind": "csv", "tensorboard": was}
    assert saved_config({**plain, "logger": logger}, OwnBackbone()).logger == told
