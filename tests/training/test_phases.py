"""Every freeze policy through whole runs: gradients during training, what is proven afterwards, and exact resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import runs_of
from tests.interrupting import RUN, Command, differences, interrupted_and_resumed, state_of
from tlx.learner.learner import Learner
from tlx.network.network import Network
from tlx.storage import read_tensors

LIVE = "features=off"
# Four steps an epoch and three epochs a phase; BatchNorm, dropout and drop-path in the trunk.
POLICIES: dict[str, tuple[str, ...]] = {
    "trunk": ("freeze=trunk", LIVE),
    "none": ("freeze=none",),
    "upto": ("freeze=upto", "freeze.stage=layer2"),
    "last": ("freeze=last", "freeze.stages=2"),
    "gradual": ("freeze=gradual",),
    "lp_ft": ("freeze=lp_ft", LIVE),
    "norm": ("freeze=norm",),
    "bias": ("freeze=bias",),
    "surgical": ("freeze=surgical", LIVE),
    "pattern": ("freeze=pattern", "freeze.train=[layer3]"),
    "lora": ("freeze=lora", "freeze.rank=2"),
    "frozen_statistics": ("freeze=none", "freeze.batch_statistics=frozen"),
}


@pytest.mark.parametrize("key", POLICIES)
def test_gradients_during_training_are_those_of_the_policy(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """And at the end, what never trained has the bytes it had before, in the saved model too."""
    seen: list[tuple[str, int]] = []
    first: dict[str, torch.Tensor] = {}
    never: set[str] = set()

    def look(self: Learner) -> None:
        network, phase, epoch = self.network, self.phase, self.current_epoch
        wanted = network.trained_in(epoch, phase.index)
        assert {n for n, p in network.named_parameters() if p.grad is not None} == wanted
        assert {n for n, p in network.named_parameters() if p.requires_grad} == wanted
        if not seen:
            first.update({n: t.clone() for n, t in network.state_dict().items()})
            never.update(n for n, _ in network.named_parameters())
        never.difference_update(wanted)
        seen.append((phase.name, epoch))

    monkeypatch.setattr(Learner, "on_after_backward", look)
    answer = tlx(*RUN, *POLICIES[key])
    assert answer.code == 0, answer.err
    two = key in ("lp_ft", "surgical")
    names = ("probe", "finetune") if two else ("train",)
    assert seen == [(name, epoch) for name in names for epoch in range(3) for _ in range(4)]
    (folder,) = runs_of(tmp_path)
    result = json.loads((folder / "result.json").read_text())
    assert result["frozen_unchanged"] is True
    assert [row["phase"] for row in result["certificate"]] == (["train"] * 3 if key == "gradual" else list(names))
    saved = read_tensors(folder / "model" / "weights.safetensors")
    if key == "lora":  # merged: the names of the plain network, of which every adapted weight moved
        plain = {n.replace("parametrizations.weight.original", "weight") for n in never}
        assert plain < set(saved)
        assert not any("parametrizations" in n for n in saved)
        saved = read_tensors(folder / "checkpoints" / "train" / "best.safetensors")
    assert never == {n for n in never if torch.equal(saved[n], first[n])}
    assert bool(never) == (key not in ("none", "lp_ft", "frozen_statistics"))
    if key == "frozen_statistics":
        running = [n for n in saved if "running" in n]
        assert running
        assert all(torch.equal(saved[n], first[n]) for n in running)


@pytest.mark.parametrize("key", [k for k in POLICIES if k not in ("none", "lp_ft", "norm", "bias")])
def test_without_the_guard_every_policys_certificate_fails(
    tlx: Command, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Negative control: the BatchNorms of what is frozen wake up, and the run says which."""
    monkeypatch.setattr(Network, "train", nn.Module.train)
    answer = tlx(*RUN, *POLICIES[key])
    assert answer.code == 1
    assert "frozen tensors moved" in answer.err
    assert "running_mean" in answer.err


@pytest.mark.parametrize("key", ["norm", "bias"])
def test_a_frozen_weight_that_moves_ends_the_run(tlx: Command, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Negative control where every BatchNorm is awake: something writes to a convolution."""

    def write(self: Learner) -> None:
        with torch.no_grad():
            self.network.trunk.model.layer3[0].conv2.weight *= 1.001

    monkeypatch.setattr(Learner, "on_after_backward", write)
    answer = tlx(*RUN, *POLICIES[key])
    assert answer.code == 1
    assert "frozen tensors moved during training: trunk.model.layer3.0.conv2.weight" in answer.err


def steps(key: str) -> list[int]:
    """In the middle of each phase; of gradual unfreezing, in the middle of each stretch."""
    if key in ("lp_ft", "surgical"):
        return [6, 18]
    return [2, 6, 10] if key == "gradual" else [6]


@pytest.mark.parametrize(("key", "step"), [(key, step) for key in POLICIES for step in steps(key)])
def test_resume_is_exact_in_the_middle_of_each_phase(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, step: int
) -> None:
    words = (*RUN, *POLICIES[key])
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, step, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []


def test_resume_is_exact_after_a_solved_probe(tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*RUN, "freeze=lp_ft", "features=bank", "freeze.finetune.epochs=2", "freeze.finetune.lr=1e-4")
    assert tlx(*words, "hydra.run.dir=whole").code == 0
    resumed = interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 6, "on_train_batch_end")
    assert differences(state_of(tmp_path / "whole"), resumed) == []
    assert [row["phase"] for row in resumed["certificate"]] == ["probe", "finetune"]


def test_a_certificate_that_forgets_an_interruption_is_noticed(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: frozen weights changed between the interruption and the resume make the certificate fail."""
    words = (*RUN, "freeze=last", "freeze.stages=1")
    original = Learner.on_train_start

    def after_loading(self: Learner) -> None:
        if self.certificate.open and self.certificate.open["last"]:
            with torch.no_grad():
                self.network.trunk.model.layer1[0].conv1.weight += 1e-3
        original(self)

    monkeypatch.setattr(Learner, "on_train_start", after_loading)
    with pytest.raises(AssertionError, match=r"frozen tensors moved.*layer1\.0\.conv1"):
        interrupted_and_resumed(tlx, tmp_path, monkeypatch, words, 6, "on_train_batch_end")


def test_each_phase_has_its_own_epochs_rates_and_early_stopping(tlx: Command, tmp_path: Path) -> None:
    words = (
        "freeze=lp_ft", LIVE, "freeze.probe.epochs=4", "freeze.probe.lr=0.01", "freeze.finetune.epochs=5",
        "freeze.finetune.lr=1e-4", "freeze.finetune.patience=1", "callbacks.early_stopping.min_delta=0.99",
        "freeze.probe.warmup_epochs=0", "schedule=constant",
    )  # fmt: skip
    assert tlx(*RUN, *words).code == 0
    (folder,) = runs_of(tmp_path)
    lines = (folder / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [(row["phase"], row["epoch"]) for row in rows] == (
        [("probe", str(e)) for e in range(4)] + [("finetune", "-1"), ("finetune", "0")]
    )
    assert {row["lr/trunk/decayed"] for row in rows} == {"", "0.0001"}
    assert {float(row["lr/head/decayed"]) for row in rows[:4]} == {0.05}  # conf/optimizer/finetune.yaml: five times
    assert float(rows[-1]["lr/head/decayed"]) == pytest.approx(1e-4)  # no longer a new head
    assert (folder / "checkpoints" / "probe" / "best.safetensors").is_file()


def test_a_phase_starts_from_the_best_weights_of_the_one_before(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, dict[str, torch.Tensor]] = {}
    original = Learner.on_train_start

    def note(self: Learner) -> None:
        started[self.phase.name] = {n: t.clone() for n, t in self.network.state_dict().items()}
        original(self)

    monkeypatch.setattr(Learner, "on_train_start", note)
    assert tlx(*RUN, "freeze=lp_ft", LIVE).code == 0
    (folder,) = runs_of(tmp_path)
    best = read_tensors(folder / "checkpoints" / "probe" / "best.safetensors")
    assert all(torch.equal(best[n], t) for n, t in started["finetune"].items())
    assert any(not torch.equal(best[n], t) for n, t in started["probe"].items())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("freeze=upto", "freeze.stage=9"), "layer4"),
        (("freeze=last", "freeze.stages=9"), "at most 5"),
        (("freeze=pattern", "freeze.train=[nothing]"), "matches no parameter"),
        (("freeze=pattern", "freeze.train=[]"), "freeze.train names nothing that trains"),
        (("freeze=pattern",), "freeze.train names nothing that trains"),
    ],
)
def test_a_bad_policy_is_told_before_training(tlx: Command, words: tuple[str, ...], said: str) -> None:
    answer = tlx(*RUN, *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_merged_adapters_classify_as_they_did(tlx: Command, tmp_path: Path) -> None:
    assert tlx(*RUN, "freeze=lora", "hydra.run.dir=run").code == 0
    trained = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]["test"]
    answer = tlx("evaluate", "run=run")
    assert answer.code == 0, answer.err
    assert f"{trained['loss']:.4f}" in answer.out
    assert f"{trained['accuracy']:.4f}" in answer.out
    assert "low-rank adapters" not in answer.out


def test_fine_tuning_never_ends_worse_than_its_probe(tlx: Command, tmp_path: Path) -> None:
    """A rate that destroys the network: what is kept is the probe, though every epoch of the phase was worse."""
    words = (*RUN, "data.per_class=10", "freeze=lp_ft", "freeze.finetune.lr=3", "trainer.gradient_clip=null")
    answer = tlx(*words, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    start = float(rows[0]["val/accuracy"])
    assert rows[0]["epoch"] == "-1"
    assert all(float(row["val/accuracy"]) < start for row in rows[1:])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metrics"]["val"]["accuracy"] == pytest.approx(start)
    best = result["best"]
    assert {key: best[key] for key in ("phase", "epoch", "epochs", "unbeaten_by")} == {
        "phase": "probe", "epoch": None, "epochs": 0, "unbeaten_by": "finetune",
    }  # fmt: skip
    assert best["val"]["accuracy"] == pytest.approx(start)
    (probe,) = (line for line in answer.out.splitlines() if line.startswith("probe     accuracy"))
    assert probe.startswith(f"probe     accuracy {start:.4f}, loss ")
    assert "finetune  no epoch beat the probe; its weights are kept" in answer.out
    (trained,) = (line for line in answer.out.splitlines() if line.startswith("trained"))
    assert trained.endswith("the whole network; no epoch of finetune beat the probe, whose weights are kept")
    assert f"best      probe, solved on features: validation accuracy {start:.4f}" in answer.out


@pytest.mark.parametrize("words", [("freeze=none",), ("freeze=lp_ft", LIVE), ("freeze=lp_ft", "optimizer.lr=1e-4")])
def test_the_result_says_which_epoch_the_weights_are_from(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = tlx(*RUN, "data.per_class=10", *words, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    best = json.loads((tmp_path / "run" / "result.json").read_text())["best"]
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    highest = max(float(row["val/accuracy"]) for row in rows if row["phase"] in ("train", "finetune"))
    assert best["val"]["accuracy"] == pytest.approx(highest, abs=1e-6)
    if best["epoch"] is not None:
        (row,) = (r for r in rows if (r["phase"], r["epoch"]) == (best["phase"], str(best["epoch"])))
        assert float(row["val/accuracy"]) == pytest.approx(highest, abs=1e-6)
        assert f"epoch {best['epoch'] + 1} of 3: validation accuracy {highest:.4f}" in answer.out
    assert (best["unbeaten_by"] == "finetune") == (best["phase"] == "probe")


def test_a_solved_run_has_no_best_epoch(tlx: Command, tmp_path: Path) -> None:
    answer = tlx(*RUN, "freeze=trunk", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["best"] is None
    assert "\nbest" not in answer.out
