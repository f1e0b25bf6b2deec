"""The pace of a run: tried where that pays, told, recorded, remembered on disk, and the same however often asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import TINY
from tests.interrupting import RUN, Command, differences, interrupted_and_resumed, state_of
from tests.learner.small import Small
from tlx.learner.trial import Pace, Step
from tlx.training import pace as paces
from tlx.training.pace import inference_pace, pays

USUAL = {"precision": "32", "memory_format": "channels_last"}
HALF = {"precision": "bf16-mixed", "memory_format": "contiguous"}


@pytest.fixture
def trying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smallest run be worth a trial, on a processor that is said to compute bf16 natively."""
    monkeypatch.setattr(paces, "LEAST", 0)
    monkeypatch.setattr(paces, "SHARE", 10**6)
    monkeypatch.setattr(paces, "mixed_precision", lambda device: "bf16-mixed")


@pytest.fixture
def half(trying: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let bf16 and contiguous weights win every trial; collect the trials."""
    trials = []

    def found(ways: Sequence[Pace], prepare: Callable[[Pace], Step], device: torch.device) -> dict[Pace, float]:
        trials.append(len(ways))
        return {way: 0.5 if vars(way) == HALF else 1.0 for way in ways}

    monkeypatch.setattr(paces, "timed", found)
    return trials


def decided(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())["decisions"]["pace/train"]


def test_a_small_run_stays_at_32_without_a_trial(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paces, "timed", lambda *_: pytest.fail("tried"))
    answer = tlx(*RUN, "hydra.run.dir=run", "trainer.cache_dir=cache")
    assert answer.code == 0, answer.err
    assert decided(tmp_path / "run") == USUAL
    assert "\npace" not in answer.out
    assert not (tmp_path / "cache").exists()


def test_the_rule_counts_images_and_multiply_adds() -> None:
    trunk = Small().network().trunk  # some four million multiply-adds an image
    assert pays(10**7, 32, 4, 3, trunk)
    assert not pays(10**7, 10**6, 4, 3, trunk)  # a trial would read more images than the work
    assert not pays(10**4, 1, 4, 3, trunk)  # a second's work


def test_a_trial_is_told_recorded_and_remembered(tlx: Command, tmp_path: Path, half: list[int]) -> None:
    words = (*RUN, "trainer.cache_dir=cache", "trainer.max_epochs=1")
    answer = tlx(*words, "hydra.run.dir=one")
    assert answer.code == 0, answer.err
    told = (
        "pace      bf16-mixed, contiguous: 2 times as fast as 32, channels_last, by a trial of training steps on a copy"
    )
    assert f"{told}\n" in answer.out
    (file,) = (tmp_path / "cache").glob("[!.]*")
    content = json.loads(file.read_text())
    assert content["answer"] == decided(tmp_path / "one") == HALF
    assert content["question"]["torch"] == torch.__version__
    assert half == [4]
    again = tlx(*words, "hydra.run.dir=two")
    assert "pace      bf16-mixed, contiguous: the fastest when this was timed here before\n" in again.out
    assert decided(tmp_path / "two") == HALF
    assert half == [4]
    other = ("data.batch_size=10", "freeze=last", "data.image_size=48", "cut=stage", "trainer.checkpointing=true")
    for count, change in enumerate((*other, "backbone.kwargs={drop_rate: 0.1}"), 2):
        words_of_stage = ("cut.stage=3",) if change == "cut=stage" else ()
        assert tlx(*words, change, *words_of_stage, f"hydra.run.dir=other{count}").code == 0
        assert half == [4] * count, change
    assert tlx(*words, "seed=3", "optimizer.lr=1e-5", "hydra.run.dir=seed").code == 0  # other weights, the same work
    assert half == [4] * 7


def test_a_value_overrides_its_part_of_the_choice(tlx: Command, tmp_path: Path, half: list[int]) -> None:
    words = (*RUN, "trainer.cache_dir=null", "trainer.max_epochs=1")
    assert tlx(*words, "trainer.precision=32", "hydra.run.dir=precision").code == 0
    assert half == [2]
    assert decided(tmp_path / "precision") == USUAL
    assert tlx(*words, "trainer.memory_format=contiguous", "hydra.run.dir=order").code == 0
    assert half == [2, 2]
    assert decided(tmp_path / "order") == HALF
    assert tlx(*words, "trainer.precision=32", "trainer.memory_format=contiguous", "hydra.run.dir=both").code == 0
    assert half == [2, 2]
    assert decided(tmp_path / "both") == USUAL | {"memory_format": "contiguous"}


@pytest.mark.parametrize("content", ["{", "[]", '{"answer": {"precision": "64"}, "question": {}}'])
def test_a_damaged_file_costs_another_trial(tlx: Command, tmp_path: Path, half: list[int], content: str) -> None:
    words = (*RUN, "trainer.cache_dir=cache", "trainer.max_epochs=1")
    assert tlx(*words, "hydra.run.dir=one").code == 0
    (file,) = (tmp_path / "cache").glob("[!.]*")
    file.write_text(content)
    assert tlx(*words, "hydra.run.dir=two").code == 0
    assert half == [4, 4]
    assert json.loads(file.read_text())["answer"] == HALF


def test_a_folder_that_cannot_be_written_is_no_obstacle(tlx: Command, tmp_path: Path, half: list[int]) -> None:
    (tmp_path / "cache").write_text("a file")
    assert tlx(*RUN, "trainer.cache_dir=cache", "trainer.max_epochs=1").code == 0
    assert half == [4]


def test_a_run_with_a_trial_is_bit_for_bit_the_run_with_what_it_chose(
    tlx: Command, tmp_path: Path, trying: None
) -> None:
    """A real one: it changed neither weights nor BatchNorms nor order nor any random state."""
    assert tlx(*RUN, "trainer.cache_dir=null", "hydra.run.dir=auto").code == 0
    found = decided(tmp_path / "auto")
    given = [f"trainer.{key}={value}" for key, value in found.items()]
    assert tlx(*RUN, *given, "hydra.run.dir=given").code == 0
    auto, asked = state_of(tmp_path / "auto"), state_of(tmp_path / "given")
    for part in ("phases", "metrics", "model"):
        assert differences(auto[part], asked[part]) == [], part


def test_a_resumed_run_takes_the_choice_over(
    tlx: Command, tmp_path: Path, half: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*RUN, "trainer.cache_dir=null")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    assert half == [4]
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 6, "on_train_batch_end")
    assert half == [4, 4]
    assert resumed["decisions"]["pace/train"] == HALF
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_bf16_is_another_training_than_32(tlx: Command, tmp_path: Path, half: list[int]) -> None:
    """Negative control of the test above: the precision reaches the training."""
    assert tlx(*RUN, "trainer.cache_dir=null", "hydra.run.dir=half").code == 0
    assert tlx(*RUN, "trainer.precision=32", "trainer.memory_format=contiguous", "hydra.run.dir=full").code == 0
    assert differences(state_of(tmp_path / "half")["model"], state_of(tmp_path / "full")["model"])


def test_what_was_trained_before_there_was_a_choice_is_resumed_as_it_was(
    tlx: Command, tmp_path: Path, half: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*RUN, "trainer.cache_dir=null", "trainer.precision=32", "trainer.memory_format=channels_last")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    original = Path.read_text

    def forgetting(self: Path, *args: Any, **kwargs: Any) -> str:
        text = original(self, *args, **kwargs)
        if self.name == "config.json":
            text = text.replace('"precision": "32"', '"precision": "auto"').replace(
                '"memory_format": "channels_last"', '"memory_format": "auto"'
            )
        return "{}" if self.name == "decisions.json" else text

    monkeypatch.setattr(Path, "read_text", forgetting)
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 6, "on_train_batch_end")
    assert half == []
    assert differences(state_of(tmp_path / "whole")["phases"], resumed["phases"]) == []


def test_a_run_is_measured_in_its_own_precision(
    tlx: Command, tmp_path: Path, half: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlx.verbs import finished

    used = []
    original = finished.make_trainer
    monkeypatch.setattr(finished, "make_trainer", lambda config: used.append(config.precision) or original(config))
    assert tlx(*RUN, "trainer.cache_dir=null", "hydra.run.dir=run").code == 0
    trained = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]
    answer = tlx("evaluate", "run=run")
    assert f"{trained['test']['loss']:.4f}" in answer.out
    assert tlx("evaluate", "run=run", "trainer.precision=32").code == 0
    assert used == ["bf16-mixed", "32"]


def test_both_arms_of_a_race_run_at_one_pace(tlx: Command, tmp_path: Path, half: list[int]) -> None:
    import timm

    from tlx.storage import write_tensors

    write_tensors(tmp_path / "w.safetensors", timm.create_model("test_resnet").state_dict())
    words = (
        "case=large_different", *TINY, "data=digits", "data.per_class=4", "data.batch_size=12", "trainer.max_epochs=2",
        "callbacks.progress=false", "init=race", "init.file=w.safetensors", "trainer.cache_dir=null",
    )  # fmt: skip
    answer = tlx(*words, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert half == [4]
    assert decided(tmp_path / "run") == HALF


def test_inference_has_a_pace_of_its_own(trying: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The function that a pass over a frozen trunk calls: the choice is named, recorded and changes nothing."""
    from types import SimpleNamespace

    from tlx.config import groups as g
    from tlx.learner.trainer import make_trainer
    from tlx.results.decisions import Decisions

    network = Small(policy=g.TrunkFreeze()).network()
    before = {name: (t.clone(), t.stride()) for name, t in network.state_dict().items()}
    config: Any = SimpleNamespace(
        trainer=g.Trainer(cache_dir=None),
        data=SimpleNamespace(batch_size=4),
        backbone=g.TimmBackbone(name="test_resnet"),
    )
    decisions = Decisions(tmp_path / "decisions.json")
    trainer = make_trainer(g.Trainer(accelerator="cpu", devices=1))
    pace = inference_pace("features", config, network, 1000, trainer, decisions)
    assert vars(pace) == json.loads((tmp_path / "decisions.json").read_text())["pace/features"]
    monkeypatch.setattr(paces, "timed", lambda *_: pytest.fail("tried twice"))
    assert inference_pace("features", config, network, 1000, trainer, decisions) == pace
    after = network.state_dict()
    assert all(torch.equal(after[name], t) and after[name].stride() == s for name, (t, s) in before.items())
    monkeypatch.setattr(paces, "LEAST", 10**15)
    usual = inference_pace("little", config, network, 1000, trainer, decisions)
    assert vars(usual) == USUAL


def test_a_trial_without_room_is_told_and_not_remembered(
    tlx: Command, tmp_path: Path, trying: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copying(_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("tlx.learner.trial.deepcopy", copying)
    answer = tlx(*RUN, "hydra.run.dir=run", "trainer.cache_dir=cache", "trainer.max_epochs=1")
    assert answer.code == 0, answer.err
    assert decided(tmp_path / "run") == USUAL
    assert "pace      32, channels_last: a copy could not make any step of a trial of training\n" in answer.out
    assert not (tmp_path / "cache").exists()


def test_shards_get_no_trial(trying: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole copy on one device is what they are there to avoid."""
    from types import SimpleNamespace

    from tlx.config import groups as g
    from tlx.learner.trainer import make_trainer
    from tlx.results.decisions import Decisions

    tried = []
    monkeypatch.setattr(paces, "timed", lambda ways, *_: tried.append(ways) or {})  # type: ignore[func-returns-value]
    trainer = make_trainer(g.Trainer(accelerator="cpu", devices=1))
    for strategy, count in (("fsdp", 0), ("auto", 1)):
        config: Any = SimpleNamespace(
            trainer=g.Trainer(cache_dir=None, strategy=strategy),
            data=SimpleNamespace(batch_size=4),
            backbone=g.TimmBackbone(name="test_resnet"),
        )
        network = Small(policy=g.TrunkFreeze()).network()
        assert vars(inference_pace("features", config, network, 1000, trainer, Decisions(None))) == USUAL
        assert len(tried) == count
