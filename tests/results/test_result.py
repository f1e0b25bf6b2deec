"""``result.json``: the names that other programs read are there, with what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tlx.config import groups as g
from tlx.config.roots import TrainConfig
from tlx.results.result import FORMAT, METRICS, compose, data_name, required, versions

SMALL = ("backbone=timm", "backbone.name=test_resnet", "backbone.image_size=32", "init=scratch", "trainer=cpu")


def lacks(wanted: Mapping[str, Any], got: Any, at: str = "") -> list[str]:
    """List the names that are wanted and not there."""
    if not isinstance(got, Mapping):
        return [at or "everything"]
    found = []
    for name, inner in wanted.items():
        here = f"{at}.{name}".strip(".")
        if name not in got:
            found.append(here)
        elif isinstance(inner, Mapping):
            found += lacks(inner, got[name], here)
    return found


def config(data: Any) -> TrainConfig:
    return TrainConfig(
        g.TimmBackbone(name="test_resnet"),
        g.ScratchInit(),
        g.EarlyCut(),
        g.TrunkFreeze(),
        g.LinearHead(),
        g.BankFeatures(),
        g.LbfgsSolver(),
        data,
        g.NoAugment(),
        g.AdamW(),
        g.CosineSchedule(),
        g.Regularizer(),
        g.Trainer(),
        g.Callbacks(),
        g.CsvLogger(),
        case="small_different",
        seed=7,
    )


def test_compose_says_what_was_asked_for() -> None:
    composed = compose(config(g.DigitsData()), ("a", "b"), metrics={"test": 1}, extra="x")
    asked = {"case": "small_different", "backbone": "test_resnet", "init": "scratch", "cut": "early"}
    asked |= {"freeze": "trunk", "head": "linear", "data": "digits", "seed": 7, "num_classes": 2, "format": FORMAT}
    assert {name: composed[name] for name in asked} == asked
    assert (composed["classes"], composed["extra"], composed["metrics"]) == (["a", "b"], "x", {"test": 1})
    json.dumps(composed)


def test_nothing_measured_can_be_missing_unseen() -> None:
    """The negative control of the next test: what compose does not get is named."""
    composed = compose(config(g.DigitsData()), ("a", "b"), metrics={"train": dict.fromkeys(METRICS), "val": {}})
    missing = lacks(required(), composed)
    assert "seconds" in missing
    assert "metrics.val.macro_f1" in missing
    assert "metrics.test" in missing
    assert not any(name.startswith("metrics.train") for name in missing)


@pytest.mark.parametrize("case", ["small_similar", "large_different"])
def test_a_real_run_holds_every_required_name(case: str, tlx: Callable[..., Any], tmp_path: Path) -> None:
    answer = tlx(f"case={case}", *SMALL, "data=digits", "data.per_class=4", "trainer.max_epochs=1")
    assert answer.code == 0, answer.err
    files = list(tmp_path.rglob("result.json"))
    assert len(files) == 1
    result = json.loads(files[0].read_text())
    assert lacks(required(), result) == []
    assert result["run_dir"] == str(files[0].parent)
    assert result["frozen_unchanged"] is True
    for split in ("train", "val", "test"):
        assert all(isinstance(result["metrics"][split][name], float) for name in METRICS)
        assert 0 <= result["metrics"][split]["accuracy"] <= 1  # fractions, not percent
    assert sum(v for k, v in result["seconds"].items() if k != "total") <= result["seconds"]["total"] + 0.1
    kept, trained = result["parameters"]["kept"], result["parameters"]["trained"]
    assert (trained < kept) == (case == "small_similar")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (g.FolderData(root="/x/my photos/"), "my photos"),
        (g.TableData(file="/x/my table.csv"), "my table"),
        (g.ShardsData(root="/x/shards/"), "shards"),
        (g.HubData(name="owner/beans"), "beans"),
        (g.TorchvisionData(name="DTD", root="/x"), "DTD"),
        (g.LettersData(script="greek"), "greek"),
        (g.PatchesData(), "patches"),
        (g.PatchesData(rotate=True), "rotated patches"),
        (g.DigitsData(), "digits"),
    ],
)
def test_data_is_named_as_a_person_would(data: Any, name: str) -> None:
    assert data_name(config(data)) == name


def test_versions_name_what_shapes_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions()
    assert {"tlx", "python", "torch", "timm", "pytorch-lightning", "torchmetrics"} <= set(found)
    assert "unknown" not in found.values()
    monkeypatch.setattr("tlx.results.result.PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "unknown"
