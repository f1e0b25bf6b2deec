"""Strategies: what is chosen between, what asks for each, and what it becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.facts import auto, every, evidence
from tlx.advice.strategy import EPOCHS, SEEN, epochs_for, row_of
from tlx.config.check import check
from tlx.config.groups import AllCut, HeadCut, LpFtFreeze, StageCut
from tlx.config.roots import TrainConfig


def test_every_cut_every_depth_together_and_three_whole_networks_are_chosen_between() -> None:
    found = every(evidence())
    assert [(s.kind, s.case, s.cut) for s in found] == [
        ("frozen", "small_different", StageCut(stage=0)),
        ("frozen", "small_different", StageCut(stage=1)),
        ("frozen", "small_similar", HeadCut()),
        ("frozen", "small_similar", AllCut()),
        ("lp_ft", "large_similar", HeadCut()),
        ("full", "large_similar", HeadCut()),
        ("scratch", "large_different", HeadCut()),
    ]
    assert [s.epochs for s in found] == [None] * 4 + [30] * 3
    assert len({s.name for s in found}) == len(found)


def test_one_depth_has_no_others_to_be_read_with() -> None:
    assert [s.kind for s in every(evidence([0.8], None))] == ["frozen", "lp_ft", "full", "scratch"]


def test_words_ask_for_what_the_settings_are() -> None:
    told = {s.name: " ".join(s.words) for s in every(evidence())}
    assert told["head alone, up to stage 0 (layer0)"] == "case=small_different cut=stage cut.stage=0"
    assert told["head alone, all layers kept"] == "case=small_similar"
    assert told["head alone, all depths together"] == "case=small_similar cut=all"
    assert told["probe, then whole network"] == "case=large_similar freeze=lp_ft freeze.finetune.epochs=30"
    assert told["whole network, random start"] == "case=large_different trainer.max_epochs=30"


def test_a_saved_config_is_the_typed_one() -> None:
    chosen = auto()
    for strategy in every(evidence()):
        assert check(strategy.plain(chosen), TrainConfig) == strategy.settings(chosen)
    probe = next(s for s in every(evidence()) if s.kind == "lp_ft").settings(chosen)
    assert isinstance(probe.freeze, LpFtFreeze)
    assert probe.freeze.finetune.epochs == 30
    assert probe.case == "large_similar"


def test_epochs_that_were_given_stay() -> None:
    from tlx.advice.strategy import strategies

    known = evidence()
    found = strategies([row.place for row in known.profile.rows], known.images, auto(epochs_given=True))
    assert {s.epochs for s in found if s.kind != "frozen"} == {4}


@given(st.integers(1, 10**7))
def test_whole_networks_see_about_as_many_images_however_many_there_are(images: int) -> None:
    epochs = epochs_for(images)
    assert EPOCHS[0] <= epochs <= EPOCHS[1]
    if EPOCHS[0] < epochs < EPOCHS[1]:
        assert SEEN - images < epochs * images <= SEEN


def test_every_frozen_strategy_has_its_probe() -> None:
    known = evidence()
    rows = [row_of(s, known.frozen).accuracy for s in every(known) if s.kind == "frozen"]
    assert rows == [0.5, 0.7, 0.8, 0.79]
    with pytest.raises(KeyError):
        row_of(every(known)[3], known.profile.rows)  # of all depths together
