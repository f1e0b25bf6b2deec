"""Runs share what their trunks computed; what that saves changes nothing of what comes out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, Answer, runs_of
from tlx.features import room
from tlx.features.bank import Reader
from tlx.storage import read_tensors
from tlx.training import survey

Command = Callable[..., Answer]
SMALL = ("case=small_similar", *TINY, "data.per_class=6", "callbacks.progress=false")


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Record every pass through a trunk: the split, and how many images."""
    passes: list[tuple[str, int]] = []
    real = Reader._compute

    def compute(self: Reader, split: str, wanted: Any, missing: Any, drawn: bool) -> None:
        passes.append((split, len(missing)))
        real(self, split, wanted, missing, drawn)

    monkeypatch.setattr(Reader, "_compute", compute)
    return passes


def result_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def outcome(result: dict[str, Any]) -> tuple[Any, ...]:
    return result["metrics"], result["fingerprints"], result["solver"], result["profile"]


def test_the_second_run_passes_no_image_and_gives_the_same(
    tlx: Command, tmp_path: Path, passed: list[tuple[str, int]]
) -> None:
    first = tlx(*SMALL, "hydra.run.dir=one")
    assert first.code == 0, first.err
    assert [split for split, _ in passed] == ["train", "val", "test"]  # the profile's pass is the training's too
    passed.clear()
    second = tlx(*SMALL, "hydra.run.dir=two")
    assert second.code == 0, second.err
    assert passed == []
    one, two = result_of(tmp_path / "one"), result_of(tmp_path / "two")
    assert outcome(one) == outcome(two)
    assert (one["bank"]["found"], two["bank"]["computed"]) == (0, 0)
    assert two["bank"]["bytes"] == one["bank"]["bytes"] > 0
    assert f"0 rows of features known, {one['bank']['computed']:,} computed" in first.out
    assert "0 computed" in second.out


def test_a_profile_is_made_once_for_the_same_images(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = survey.look

    def look(*args: Any) -> Any:
        made.append(1)
        return real(*args)

    monkeypatch.setattr(survey, "look", look)
    words = (*SMALL, "backbone=timm", "backbone.name=test_resnet")
    for number, (changes, count) in enumerate(
        (
            ((), 1),
            ((), 1),
            (("solver.strengths=[0.1]",), 1),  # the head is no part of it
            (("data.per_class=7",), 2),
            (("head.pool=max",), 3),
            (("cut=stage", "cut.stage=1"), 4),
            (("backbone.image_size=40",), 5),
            (("seed=1",), 6),
            (("features.dir=null",), 7),
        )
    ):
        assert tlx(*words, *changes, f"hydra.run.dir=run{number}").code == 0
        assert len(made) == count, changes
    first, second = (result_of(tmp_path / f"run{number}")["profile"] for number in range(2))
    assert first == second


def test_without_a_folder_nothing_is_kept(tlx: Command, tmp_path: Path, passed: list[tuple[str, int]]) -> None:
    for _ in range(2):
        answer = tlx(*SMALL, "features.dir=null")
        assert answer.code == 0, answer.err
        assert "kept in memory only" in answer.out
    assert len(passed) == 6
    for place in (tmp_path, Path(os.environ["TLX_CACHE"])):
        assert all(path.parent.name == "model" for path in place.rglob("*.safetensors"))
    assert len({json.dumps(outcome(result_of(run))) for run in runs_of(tmp_path)}) == 1


def test_a_bank_that_was_harmed_gives_the_same(tlx: Command, tmp_path: Path, passed: list[tuple[str, int]]) -> None:
    assert tlx(*SMALL, "hydra.run.dir=one", "features.dir=bank").code == 0
    for number, file in enumerate(sorted((tmp_path / "bank").rglob("*.safetensors"))):
        content = bytearray(file.read_bytes())
        content[-100 - number] ^= 16
        file.write_bytes(content)
    answer = tlx(*SMALL, "hydra.run.dir=two", "features.dir=bank")
    assert answer.code == 0, answer.err
    assert "damaged files replaced" in answer.out
    assert outcome(result_of(tmp_path / "one")) == outcome(result_of(tmp_path / "two"))


def test_a_bank_that_cannot_be_written_is_told_and_costs_nothing_else(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*SMALL, "hydra.run.dir=one").code == 0
    (tmp_path / "closed").write_text("a file, where a folder is wanted")
    answer = tlx(*SMALL, "hydra.run.dir=two", "features.dir=closed")
    assert answer.code == 0, answer.err
    assert "features stay in memory" in answer.out
    assert outcome(result_of(tmp_path / "one")) == outcome(result_of(tmp_path / "two"))


ONE_BATCH_A_SHARD = """
import sys
from tlx.__main__ import main
from tlx.features import filling
filling.WAITING = filling.SHARD_BYTES = 1
main()
"""


def test_a_killed_pass_loses_one_shard_at_most(tlx: Command, tmp_path: Path) -> None:
    words = (*SMALL, "data.batch_size=4", "features.profile_up_to=0", "features.dir=bank")
    process = subprocess.Popen(
        [sys.executable, "-c", ONE_BATCH_A_SHARD, *words], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("bank/*/*.safetensors"))) < 60:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    written = len(list(tmp_path.glob("bank/*/*.safetensors"))) - 1  # one holds what the trunk makes of a fixed image
    answer = tlx(*words, "hydra.run.dir=again")
    assert answer.code == 0, answer.err
    again = result_of(tmp_path / "again")
    assert again["bank"]["found"] >= 4 * (written - 1)  # the last of a split is smaller
    assert again["bank"]["computed"] > 0
    assert again["bank"]["damaged"] == 0
    assert tlx(*words, "features.dir=other", "hydra.run.dir=fresh").code == 0
    assert outcome(again) == outcome(result_of(tmp_path / "fresh"))


def test_one_pass_serves_every_cut(tlx: Command, tmp_path: Path, passed: list[tuple[str, int]]) -> None:
    cuts = ("cut=stage", "cut.stage=0,1,2,3")
    answer = tlx("-m", *SMALL, *cuts, "features.depths=all", "features.profile_up_to=0", "hydra.sweep.dir=deep")
    assert answer.code == 0, answer.err
    assert [split for split, _ in passed] == ["train", "val", "test"]
    passed.clear()
    answer = tlx(
        "-m", *SMALL, *cuts, "features.dir=alone", "features.profile_up_to=0", "hydra.sweep.dir=own"
    )  # the control: each cut by itself
    assert len(passed) == 12
    for number in range(4):
        deep, own = (result_of(tmp_path / name / f"{number}_small_similar") for name in ("deep", "own"))
        assert deep["surgery"] == own["surgery"]
        assert deep["metrics"]["test"]["accuracy"] == pytest.approx(own["metrics"]["test"]["accuracy"], abs=0.01)
        a, b = (read_tensors(tmp_path / n / f"{number}_small_similar" / "model" / "weights.safetensors")
                for n in ("deep", "own"))  # fmt: skip
        assert all(abs(a[name] - b[name]).max() < 1e-2 for name in a)


def test_a_probe_and_other_seeds_of_the_head_use_the_same_rows(tlx: Command, passed: list[tuple[str, int]]) -> None:
    assert tlx(*SMALL).code == 0
    passed.clear()
    assert tlx(*SMALL, "solver.strengths=[0.01]").code == 0
    assert tlx(*SMALL, "freeze=lp_ft", "trainer.max_epochs=1").code == 0
    assert passed == []


def test_views_are_learned_on(tlx: Command, tmp_path: Path, passed: list[tuple[str, int]]) -> None:
    answer = tlx(*SMALL, "augment=light", "features.views=3", "hydra.run.dir=one", "features.profile_up_to=0")
    assert answer.code == 0, answer.err
    assert passed[0] == ("train", 180)
    assert "augment" not in answer.out  # it does something
    result = result_of(tmp_path / "one")
    assert result["images"]["train"] == 60  # what is measured are the images themselves
    passed.clear()
    assert tlx(*SMALL, "augment=light", "features.views=3", "features.profile_up_to=0").code == 0
    assert passed == []


def test_views_without_augmentation_are_refused(tlx: Command) -> None:
    answer = tlx(*SMALL, "features.views=3")
    assert answer.code == 2
    assert "features.views=3 draws views by augment, and augment=none draws none" in answer.err


def test_the_bank_stays_within_its_limit(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BUSY_S", 0.0)  # else all of them would be in use
    for seed in range(3):  # random weights, each a trunk of its own
        answer = tlx(*SMALL, f"seed={seed}", "features.dir=bank", "features.max_gb=0.001", "features.profile_up_to=0")
        assert answer.code == 0, answer.err
    sizes = sum(file.stat().st_size for file in (tmp_path / "bank").rglob("*") if file.is_file())
    assert sizes < 1.0e6
    assert "of 0.001 GB in bank" in answer.out


def test_features_live_are_those_of_the_bank(tlx: Command, tmp_path: Path) -> None:
    """The same head, measured on features from the bank and on live ones."""
    assert tlx(*SMALL, "hydra.run.dir=run").code == 0
    banked = result_of(tmp_path / "run")["metrics"]["test"]
    shutil.rmtree(os.environ["TLX_CACHE"])
    answer = tlx("evaluate", "run=run")
    assert answer.code == 0, answer.err
    assert f"{banked['accuracy']:.4f}" in answer.out
    assert f"{banked['loss']:.4f}" in answer.out
