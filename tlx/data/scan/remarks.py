"""Remarks: what a person is told of the facts about their images, and what they are warned of."""

from __future__ import annotations

from typing import Any

Facts = dict[str, Any]

TINY = 8  # pixels: an image with a shorter side is told
EXTREME = 10  # times as many images in the largest class as in the smallest: told
FEW = 3  # validation images of a class: told where others have more
SHOWN = 5


def notes(facts: Facts) -> list[str]:
    """Tell what was ignored or taken in a certain way."""
    told = []
    if facts["hidden"]:
        told.append(f"ignored, for their names begin with a dot: {facts['hidden']:,}")
    if facts["unfollowed_links"]:
        told.append(f"links to folders inside a class, not followed: {facts['unfollowed_links']:,}")
    if facts["animated"]["images"]:
        told.append(f"images of several frames, of which the first is taken: {_marked(facts['animated'])}")
    if facts["tiny"]["images"]:
        told.append(f"images of less than {TINY} pixels on a side: {_marked(facts['tiny'])}")
    if facts["duplicates"] and (repeated := sum(facts["duplicates"]["within_splits"].values())):
        told.append(f"images that repeat another of their own split, byte for byte: {repeated:,}")
    return told


def warnings(facts: Facts) -> list[str]:
    """Tell what spoils a training or its measurement."""
    told = []
    if facts["bad"] and facts["duplicates"] is None:
        told.append("copies were not looked for; data.on_bad=skip looks past the images that cannot be used")
    if facts["left_out"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in facts["bad_by_reason"].items())
        told.append(f"images left out: {facts['left_out']:,} ({reasons})")
    for key, how in (("duplicates", "equal byte for byte"), ("near_duplicates", "alike to the eye")):
        if not facts[key]:
            continue
        across, labels = facts[key]["across_splits"], facts[key]["across_labels"]
        if across["images"]:
            where = ", ".join(f"{count:,} in {split}" for split, count in across["by_split"].items())
            told.append(f"images {how} in different splits: {where}, {_pair(across)}; what is measured is too good")
        if labels["images"]:
            told.append(f"images {how} under different labels: {labels['images']:,}, {_pair(labels)}")
    if facts["constant"] and facts["constant"]["images"]:
        told.append(f"images of one colour throughout: {_marked(facts['constant'])}")
    return told


def unbalanced(facts: Facts, balance: str) -> list[str]:
    """Tell of training classes that are far out of balance."""
    told, imbalance, train = [], facts["imbalance"], facts["splits"]["train"]
    large, small = imbalance["largest"], imbalance["smallest"]
    if imbalance["ratio"] > EXTREME:
        advice = "" if balance != "none" else "; data.balance=weights gives every class the same say"
        what = f"{train[large]:,} training images of {large!r} and {train[small]:,} of {small!r}"
        told.append(f"{what}: judge by balanced accuracy, which counts classes alike{advice}")
    val = facts["splits"]["val"]
    if train[small] and 0 < val.get(small, 0) < FEW <= max(val.values()):
        told.append(f"{val[small]:,} validation images of {small!r}: what is chosen by them is chosen almost by chance")
    if single := [name for name, count in train.items() if count == 1]:
        listed = ", ".join(map(repr, single[:SHOWN])) + (", ..." if len(single) > SHOWN else "")
        told.append(f"classes with a single training image: {listed}")
    return told


def _marked(marked: Facts) -> str:
    return f"{marked['images']:,}, such as {marked['examples'][0]}"


def _pair(alike: Facts) -> str:
    return "such as " + " and ".join(alike["examples"][0])
