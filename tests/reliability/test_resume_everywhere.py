"""R1: interrupted at every step and resumed, a run is bit for bit the one that was never interrupted."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from tests.conftest import Scorecard
from tests.interrupting import Command, differences, interrupted_and_resumed, state_of
from tests.training.test_phases import POLICIES

# Four steps an epoch (40 images in batches of 12; the tail of four stays), three epochs a phase. The embedded backbone,
# a ResNet with its trained weights: BatchNorm, dropout and drop-path in the network, random views in the data.
RUN = (
    "case=large_similar", "trainer=cpu", "data=digits", "data.per_class=4", "data.batch_size=12",
    "trainer.max_epochs=3", "augment=standard", "regularizer.drop_path=0.2", "callbacks.progress=false",
    "head.dropout=0.2",
)  # fmt: skip
STEPS = 12
TWO_PHASES = ("lp_ft", "surgical")  # each of its own three epochs


def steps(policy: str) -> range:
    """Number the steps of a run."""
    return range(1, 1 + STEPS * (2 if policy in TWO_PHASES else 1))


def interrupt_everywhere(
    tlx: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, policy: str, workers: int, where: range
) -> list[str]:
    """Interrupt a run at steps, resume it each time, and name what is not as in the whole run, without workers."""
    words = (*RUN, *POLICIES[policy])
    assert tlx(*words, "data.workers=0", "hydra.run.dir=whole").code == 0
    whole, found = state_of(folder / "whole"), []
    for step in where:
        told = (*words, f"data.workers={workers}")
        resumed = interrupted_and_resumed(tlx, folder, monkeypatch, told, step, "on_train_batch_end")
        found += [f"step {step}: {difference}" for difference in differences(whole, resumed)]
        shutil.rmtree(folder / "broken")
    return found


def places(found: list[str]) -> set[str]:
    """Return the steps at which something differs."""
    return {difference.partition(":")[0] for difference in found}


EVERYWHERE = [pytest.param(policy, steps(policy), marks=pytest.mark.reliability) for policy in POLICIES]


@pytest.mark.parametrize(("policy", "where"), [("none", range(7, 8)), *EVERYWHERE])
def test_resume_is_exact_from_every_step(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorecard: Scorecard, policy: str, where: range
) -> None:
    found = interrupt_everywhere(tlx, tmp_path, monkeypatch, policy, 0, where)
    scorecard("R1", {"runs interrupted and resumed": len(where), "different": len(places(found))})
    assert found == []


@pytest.mark.reliability
def test_randomness_with_a_state_is_noticed(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorecard: Scorecard
) -> None:
    """The negative control: views that depend on how many were drawn before make every comparison fail."""
    drawn = itertools.count()
    monkeypatch.setattr("tlx.data.transforms.seed_for", lambda *_: next(drawn))
    where = range(3, STEPS, 4)
    found = interrupt_everywhere(tlx, tmp_path, monkeypatch, "none", 0, where)
    scorecard("R1", {f"of {len(where)} with stateful randomness noticed": len(places(found))})
    assert places(found) == {f"step {step}" for step in where}
