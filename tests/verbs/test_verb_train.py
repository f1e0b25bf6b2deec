"""Every case on every embedded set, and what a run must prove, keep and leave behind."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import TINY, Answer, runs_of
from tlx.data.module import ImageModule
from tlx.network.network import Network
from tlx.results.result import required
from tlx.storage import read_tensors

CASES = ("small_similar", "small_different", "large_similar", "large_different")
# Shrunk until a run takes seconds; the chance level stays that of the whole set.
SETS = {
    "digits": ("data=digits",),
    "patches": ("data=patches", "data.test_per_class=20"),
    "greek": ("data=greek", "data.per_class=15", "data.val_per_class=3", "data.test_per_class=8"),
    "rotated_patches": ("data=rotated_patches", "data.per_class=40", "data.val_per_class=10", "data.test_per_class=20"),
}
Command = Callable[..., Answer]


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def history_of(folder: Path) -> list[dict[str, Any]]:
    with (folder / "metrics.csv").open() as file:
        rows = csv.DictReader(file)
        return [{key: value if key == "phase" else float(value) for key, value in row.items()} for row in rows]


# Three pairs that others resemble are slow.
SLOWER = {("large_different", "greek"), ("large_similar", "rotated_patches"), ("large_different", "digits")}
PAIRS = [(case, data) for case in CASES for data in SETS]


@pytest.mark.parametrize(
    ("case", "data"), [pytest.param(*pair, marks=pytest.mark.slow if pair in SLOWER else []) for pair in PAIRS]
)
def test_every_case_learns_on_every_embedded_set(tlx: Command, tmp_path: Path, case: str, data: str) -> None:
    live = case.startswith("large")
    shrunk = ("trainer.max_epochs=4", "optimizer.lr=2e-3", "data.batch_size=16") if live else ()
    if (case, data) == ("large_different", "greek"):  # 38 letters from random weights: the only pair that needs more
        shrunk = ("trainer.max_epochs=3", "optimizer.lr=2e-3", "augment=none", "data.per_class=150")
    answer = tlx(f"case={case}", *SETS[data], *shrunk)
    assert answer.code == 0, answer.err
    (folder,) = runs_of(tmp_path)
    result = result_of(folder)
    chance = 1 / result["num_classes"]
    assert result["metrics"]["test"]["accuracy"] > 1.5 * chance
    if live:
        history = history_of(folder)
        assert history[-1]["train/loss"] < 0.95 * history[0]["train/loss"]
        assert result["parameters"]["frozen"] == 0
    else:
        path = result["solver"]["path"]
        assert all(row["converged"] for row in path)
        assert result["metrics"]["train"]["loss"] < 0.9 * math.log(result["num_classes"])  # that of guessing
        assert result["parameters"]["frozen"] == result["parameters"]["kept"] > 0
        assert result["frozen_unchanged"] is True
    if case == "small_different":
        assert result["parameters"]["dropped"] > result["parameters"]["kept"]  # most layers went


def test_result_holds_the_promised_names(tlx: Command, tmp_path: Path) -> None:
    assert tlx("case=small_similar", *TINY).code == 0
    result = result_of(runs_of(tmp_path)[0])

    def assert_holds(promised: dict[str, Any], found: dict[str, Any], where: str) -> None:
        for key, inner in promised.items():
            assert key in found, f"{where}.{key}"
            if isinstance(inner, dict):
                assert_holds(inner, found[key], f"{where}.{key}")

    assert_holds(required(), result, "result")
    for split in ("train", "val", "test"):
        assert 0 <= result["metrics"][split]["accuracy"] <= 1  # fractions, not percent
    assert sum(result["seconds"][name] for name in result["seconds"] if name != "total") <= result["seconds"]["total"]


def test_same_seed_same_result_and_another_seed_another(tlx: Command, tmp_path: Path) -> None:
    for seed in (0, 0, 1):
        assert tlx("case=large_similar", *TINY, "data=digits", "trainer.max_epochs=1", f"seed={seed}").code == 0
    first, again, other = sorted(
        (result_of(folder) for folder in runs_of(tmp_path)), key=lambda r: (r["seed"], r["run_dir"])
    )
    assert first["fingerprints"] == again["fingerprints"]
    assert first["metrics"] == again["metrics"]
    assert first["fingerprints"]["model"] != other["fingerprints"]["model"]


@pytest.mark.parametrize("features", ["bank", "off"])
def test_test_images_are_touched_once_and_last(tlx: Command, monkeypatch: pytest.MonkeyPatch, features: str) -> None:
    asked: list[str] = []
    read = {name: getattr(ImageModule, name) for name in ("plain_loader", "loader_of")}

    def recording(name: str) -> Any:
        def loader(self: ImageModule, split: str, *args: Any) -> Any:
            asked.append(split)
            return read[name](self, split, *args)

        return loader

    for name in read:
        monkeypatch.setattr(ImageModule, name, recording(name))
    assert tlx("case=small_similar", *TINY, f"features={features}", "trainer.max_epochs=2").code == 0
    assert asked.count("test") == 1
    assert asked[-1] == "test"


def test_frozen_trunk_trained_live_stays_byte_equal(tlx: Command, tmp_path: Path) -> None:
    """BatchNorm and dropout in the trunk, whole epochs through Lightning."""
    live = ("features=off", "augment=standard", "trainer.max_epochs=2", "backbone.kwargs={drop_rate: 0.5}")
    answer = tlx("case=small_similar", *TINY, *live)
    assert answer.code == 0, answer.err
    result = result_of(runs_of(tmp_path)[0])
    assert result["frozen_unchanged"] is True
    assert result["fingerprints"]["weights"]
    assert "fingerprints equal" in answer.out


def test_without_the_guard_the_frozen_trunk_moves_and_the_run_fails(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the test above: BatchNorm's statistics move, and the run says so instead of succeeding."""
    monkeypatch.setattr(Network, "train", nn.Module.train)
    answer = tlx("case=small_similar", *TINY, "features=off", "trainer.max_epochs=1")
    assert answer.code == 1
    assert "frozen tensors moved" in answer.err
    assert "running_mean" in answer.err
    assert not (runs_of(tmp_path)[0] / "result.json").exists()


def test_best_epoch_is_chosen_on_validation(tlx: Command, tmp_path: Path) -> None:
    assert tlx("case=large_similar", *TINY, "data=digits", "trainer.max_epochs=4").code == 0
    folder = runs_of(tmp_path)[0]
    best = max(row["val/accuracy"] for row in history_of(folder))
    assert result_of(folder)["metrics"]["val"]["accuracy"] == pytest.approx(best, abs=1e-6)


def test_early_stopping_ends_the_training(tlx: Command, tmp_path: Path) -> None:
    stop = ("callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=0.99", "trainer.max_epochs=9")
    assert tlx("case=large_similar", *TINY, "data=digits", *stop).code == 0
    assert len(history_of(runs_of(tmp_path)[0])) == 2


def test_a_diverging_loss_ends_with_exit_code_4_and_keeps_the_last_state(tlx: Command, tmp_path: Path) -> None:
    words = ("case=large_similar", *TINY, "data=digits", "optimizer=sgd", "trainer.gradient_clip=null")
    answer = tlx(*words, "optimizer.lr=1e18", "trainer.max_epochs=3")
    assert answer.code == 4
    assert answer.err.count("\n") == 1
    assert "the loss is" in answer.err
    folder = runs_of(tmp_path)[0]
    assert not (folder / "result.json").exists()
    assert json.loads((folder / "failure.json").read_text())["exit_code"] == 4


@pytest.mark.parametrize("balance", ["weights", "sampler"])
@pytest.mark.parametrize("features", ["bank", "off"])
def test_balance_by_one_word(tlx: Command, photos: Path, balance: str, features: str) -> None:
    for image in sorted((photos / "train" / "red").glob("*.png"))[4:]:
        image.unlink()
    words = ("case=small_similar", *TINY, "data=folder", f"data.root={photos}", "data.workers=0")
    assert tlx(*words, f"data.balance={balance}", f"features={features}", "trainer.max_epochs=2").code == 0


@pytest.mark.parametrize("head", [("head=mlp",), ("head=cosine",), ("head.pool=gem",)])
def test_heads_that_no_solver_takes_learn_on_a_frozen_trunk(
    tlx: Command, tmp_path: Path, head: tuple[str, ...]
) -> None:
    answer = tlx("case=small_similar", *head, "trainer.max_epochs=3", "trainer=cpu", "optimizer.lr=5e-3")
    assert answer.code == 0, answer.err
    (folder,) = runs_of(tmp_path)
    result, history = result_of(folder), history_of(folder)
    assert history[-1]["train/loss"] < 0.9 * history[0]["train/loss"]
    assert result["metrics"]["test"]["accuracy"] > 0.3
    assert result["frozen_unchanged"] is True
    assert result["parameters"]["frozen"] == result["parameters"]["kept"]
    assert result["head"] == ("linear" if "gem" in head[0] else head[0].removeprefix("head="))
    again = tlx("evaluate", f"run={folder}", "trainer=cpu")
    row = next(line.split() for line in again.out.splitlines() if line.startswith("test"))
    assert float(row[3]) == pytest.approx(result["metrics"]["test"]["accuracy"], abs=5e-5)


def test_sgd_label_smoothing_accumulation_and_constant_schedule(tlx: Command) -> None:
    words = ("optimizer=sgd", "schedule=constant", "regularizer.label_smoothing=0.1", "trainer.accumulate=2")
    assert tlx("case=large_similar", *TINY, "data=digits", "trainer.max_epochs=2", *words).code == 0


def test_transfers_chain_from_run_to_run(tlx: Command, tmp_path: Path) -> None:
    """A run's trunk is the start of the next one's, under another head, cut earlier, by one word."""
    words = ("case=large_similar", *TINY, "data=digits", "data.per_class=4", "trainer.max_epochs=1")
    assert tlx(*words, "hydra.run.dir=first").code == 0
    chained = ("init=pretrained", "init.run=first", "data=patches", "freeze=trunk", "cut=stage", "cut.stage=2")
    answer = tlx(*words, *chained, "hydra.run.dir=second")
    assert answer.code == 0, answer.err
    first, second = (read_tensors(tmp_path / f / "model" / "weights.safetensors") for f in ("first", "second"))
    trunk = [name for name in second if name.startswith("trunk.")]
    assert trunk
    assert all(torch.equal(first[name], second[name]) for name in trunk)
    assert "first" in str(result_of(tmp_path / "second")["surgery"]["weights"])
    assert "weights of the run first, " in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("init.run=nowhere",), "init.run=nowhere holds no trained model"),
        (
            ("init.run=first", "backbone.name=test_vit"),
            r"init.run=first \(test_resnet, cut behind layer2\) is of another architecture",
        ),
        (
            ("init.run=early", "cut=head"),
            r"init.run=early \(test_resnet, cut behind layer2\) lacks weights inside what the cut keeps: layer3.*; "
            r"the deepest cut that they reach: cut=stage cut.stage=2$",
        ),
    ],
)
def test_a_run_that_cannot_be_chained_says_why(tlx: Command, words: tuple[str, ...], said: str) -> None:
    base = ("case=large_similar", *TINY, "data=digits", "data.per_class=4", "trainer.max_epochs=1")
    if "nowhere" not in words[0]:
        folder = words[0].partition("=")[2]
        assert tlx(*base, "cut=early", f"hydra.run.dir={folder}").code == 0
    answer = tlx(*base, "init=pretrained", *words)
    assert answer.code == 2
    assert re.search(said, answer.err.strip()), answer.err


def test_what_does_nothing_to_features_is_told(tlx: Command) -> None:
    words = ("inspect", "case=small_similar", *TINY)
    assert "do nothing" not in tlx(*words).out
    told = tlx(*words, "augment=light", "regularizer.label_smoothing=0.1").out
    assert "augment and regularizer do nothing to features computed once; features=off" in told
    assert "augment does nothing to features computed once" in tlx(*words, "augment=light").out
    assert "nothing to" not in tlx(*words, "augment=light", "features=off").out
