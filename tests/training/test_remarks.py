"""What a person may not expect of what was asked for is said before the training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Answer

Command = Callable[..., Answer]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("freeze=upto", "freeze.stage=layer4"),
            "freeze.stage=layer4 is the end of the trunk: all of it is frozen, as by freeze=trunk",
        ),
        (("freeze=upto", "freeze.stage=layer3"), None),
        (
            ("freeze=gradual", "trainer.max_epochs=2"),
            "stages act1, layer1, layer2, layer3 stay frozen: 2 epochs reach 1 of 5 stages; "
            "trainer.max_epochs=6 reaches all",
        ),
        (
            ("freeze=gradual", "trainer.max_epochs=9", "freeze.every=2"),
            "stage act1 stays frozen: 9 epochs reach 4 of 5 stages; "
            "trainer.max_epochs=11 or freeze.every=1 reaches all",
        ),
        (("freeze=gradual", "trainer.max_epochs=6"), None),
        (("head=cosine",), None),
        (
            ("head=mlp", "augment=light"),
            "augment does nothing to features computed once; features=off trains on images",
        ),
        (
            ("solver=sgd", "regularizer.ema=0.9", "augment=strong", "features.views=2"),
            "mixing images (augment.mixup, augment.cutmix) does nothing to features computed once; "
            "features=off trains on images",
        ),
        (
            ("solver=lbfgs", "regularizer.ema=0.9"),
            "regularizer does nothing to features computed once; features=off trains on images",
        ),
        (
            ("trainer.compile=true", "trainer.checkpointing=true"),
            "trainer.compile and trainer.checkpointing do nothing to features computed once; "
            "features=off trains on images",
        ),
        (("trainer.compile=true", "freeze=none"), None),
        (("head.pool=gem",), "head.pool=gem is trained on images, the frozen trunk computed anew in each epoch"),
        (
            ("head=cosine", "features=off"),
            "the same features are computed in every epoch; solver=sgd trains the same head on features computed once",
        ),
        (("head=cosine", "features=off", "augment=light"), None),
        (
            ("features=off", "solver=ridge", "augment=light"),
            "solver=ridge does nothing with features=off, which trains by gradient descent",
        ),
        (("head=cosine", "freeze=none"), None),
        (("freeze=surgical",), None),
    ],
)
def test_remarks(tlx: Command, words: tuple[str, ...], said: str | None) -> None:
    image = ("backbone.image_size=64",) if "head.pool=gem" in words else ()
    answer = tlx("inspect", "case=small_similar", *TINY, *image, *words)
    assert answer.code == 0, answer.err
    announced = answer.out.partition("\nnetwork ")[2].partition("\n\n")[0].splitlines()[1:]
    remarked = [line.strip() for line in announced if line.startswith("  ")]
    assert remarked == ([said] if said else [])


@pytest.mark.parametrize(("every", "told"), [(1, "each epoch"), (2, "every 2 epochs")])
def test_gradual_unfreezing_and_one_epoch_in_words(tlx: Command, every: int, told: str) -> None:
    words = ("inspect", "case=large_similar", *TINY, "freeze=gradual")
    out = tlx(*words, "trainer.max_epochs=11", f"freeze.every={every}").out
    assert f"the new layer, and one stage more after {told}, for 11 epochs" in out
    assert "for 1 epoch\n" in tlx(*words, "trainer.max_epochs=1", "freeze=none").out


def test_a_frozen_case_has_its_profile_under_every_head(tlx: Command) -> None:
    words = ("case=small_similar", *TINY, "data=digits", "data.per_class=6", "trainer.max_epochs=1")
    for head, profiled in (("head=cosine", True), ("head=mlp", True), ("head.pool=gem", False)):
        answer = tlx(*words, head, "backbone.image_size=64")
        assert answer.code == 0, answer.err
        assert ("cut=auto would take" in answer.out) == profiled


def test_a_cache_says_what_it_keeps_and_where_it_does_nothing(tlx: Command, photos: Path) -> None:
    words = ("inspect", "case=small_similar", *TINY, "data=folder", f"data.root={photos}")
    assert "data.cache does nothing to features computed once" in tlx(*words, "data.cache=disk").out
    kept = tlx(*words, "features=off", "data.cache=disk", "data.cache_dir=here").out
    assert "decoded images are kept below here for the" in kept
    assert "decoded images are kept in memory for the" in tlx(*words, "freeze=none", "data.cache=ram").out
    assert "decoded images" not in tlx(*words, "freeze=none").out
