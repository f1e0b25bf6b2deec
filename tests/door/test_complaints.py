"""Every mistake on the command line ends with exit code 2 and one or two lines that help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tlx.door.complaints import explain
from tlx.errors import InputError, MachineError

GROUPS = "backbone, init, cut, freeze"
CASES = "large_different, large_similar, small_different, small_similar"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspcet"], ["unknown verb 'inspcet'", "did you mean 'inspect'", "train, advise, resume"]),
        (["case=small_simlar"], ["unknown option case=small_simlar", "did you mean 'small_similar'", CASES]),
        (["case=3"], ["unknown option case=3", CASES]),
        (["case=null"], ["unknown option case=null", CASES]),
        (["case="], ["unknown option case=", CASES]),
        (["optimizer=adam"], ["unknown option optimizer=adam", "did you mean 'adamw'", "adamw, finetune, sgd"]),
        (["cse=small_similar"], ["unknown key or group 'cse'", "did you mean 'case'", GROUPS]),
        (["optimzer=sgd"], ["unknown key or group 'optimzer'", "did you mean 'optimizer'", GROUPS]),
        (["sed=3"], ["unknown key or group 'sed'", "did you mean 'seed'"]),
        (["optimizer.lrr=3"], ["unknown key 'optimizer.lrr'", "did you mean 'optimizer.lr'", "lr, weight_decay"]),
        (["callbacks.checkpoint.moniter=x"], ["did you mean 'callbacks.checkpoint.monitor'", "monitor, every_seconds"]),
        (["lr=3", "case=small_similar"], ["unknown key or group 'lr'", "did you mean 'optimizer.lr'?"]),
        (["+foo=1", "case=small_similar"], ["unknown key 'foo'", GROUPS]),
        (["+optimizer.foo=1", "case=small_similar"], ["unknown key 'optimizer.foo'", "lr, weight_decay"]),
        (["optimizer.momentum=0.5"], ["the chosen option of optimizer has no 'momentum'", "optimizer=sgd has"]),
        (
            ["case=small_similar", "freeze.finetune.lr=1e-4"],
            ["the chosen option of freeze has no 'finetune.lr'", "freeze=lp_ft or surgical has"],
        ),
        (["case=small_similar", "freeze=lp_ft", "freeze.finetune.rate=1"], ["unknown key 'freeze.finetune.rate'"]),
        (["cut.stage=1", "case=small_similar"], ["the chosen option of cut has no 'stage'", "cut=stage has"]),
        (["~opt=3"], ["unknown key or group 'opt'", "did you mean 'optimizer'", GROUPS]),
        (["~optimizer=sgd"], ["optimizer=sgd", "choose another option: optimizer=..."]),
        (["~optimizer"], ["the group 'optimizer' is missing", "choose an option: optimizer=..."]),
        (["~freezer"], ["unknown key or group 'freezer'", "did you mean 'freeze'"]),
        (["case=small_similar", "optimizer.lr=abc"], ["optimizer.lr='abc' has the wrong type", "a number"]),
        (["case=small_similar", "optimizer.lr=nan"], ["optimizer.lr=nan is not finite"]),
        (["case=small_similar", "seed=-1"], ["seed=-1 is out of range", "at least 0"]),
        (["case=small_similar", "trainer.precision=8"], ["trainer.precision=8 is not an option", "bf16-mixed"]),
        (["case=small_similar", "data=folder"], ["data.root is missing", "data.root=..."]),
        (["case=[small_similar,large_similar]"], ["several options", "-m case=a,b"]),
        (["head=linear,linear"], ["Ambiguous value", "sweep over the values with -m"]),
        (["train", "small_similar"], ["'small_similar' is no override", "KEY=VALUE"]),
        (["optimizer.lr=[1"], ["cannot read the override 'optimizer.lr=[1'", "KEY=VALUE"]),
        (["=3"], ["'=3' is no override"]),
        (["--cfgg", "job"], ["unknown flag --cfgg", "did you mean '--cfg'", "--help, --hydra-help"]),
        (["--cfg", "jobb"], ["--cfg", "invalid choice: 'jobb'", "'job'"]),
        (["--info", "tree"], ["--info", "invalid choice: 'tree'", "defaults-tree"]),
        (["--config-dir"], ["--config-dir", "expected one argument"]),
        (["--config-dir", "/nonexistent"], ["/nonexistent", "not found"]),
        (["--cfg", "job", "-m"], ["Only one of"]),
        (["backbone.name=${oc.env:TLX_NONE}", "case=small_similar"], ["backbone.name", "TLX_NONE"]),
        (["-m", "case=small_similar,bogus"], ["unknown option case=bogus", CASES]),
        (["data=folder", "data.root=~nobody-here/x"], ["~nobody-here/x", "no such user"]),
        (["resume"], ["run is missing", "run=..."]),
        (["resume", "run=nowhere"], ["run=", "holds no run"]),
        (["resume", "run=nowhere", "optimizer.lr=1"], ["optimizer.lr cannot be changed"]),
        (["evaluate", "run=nowhere", "split=tset"], ["split=tset", "did you mean 'test'", "train, val, test"]),
        (
            ["evaluate", "case=small_similar"],
            ["unknown key or group 'case'", "evaluate has none", "trainer, data"],
        ),
        (["case=small_similar", "trials=false"], ["unknown key or group 'trials'", "train has none, advise has"]),
        (["pretrain"], ["output is missing", "output=..."]),
        (["train"], ["train needs a case", "case=small_similar"]),
        (["seed=1"], ["train needs a case", "case=small_similar"]),
        (["hydra/launcher=bogus"], ["unknown option hydra/launcher=bogus", "basic"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].isascii() else None,
)
def test_a_mistake_is_told_in_a_line(tlx: Callable, tmp_path: Path, words: list[str], said: list[str]) -> None:
    answer = tlx(*words)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("tlx: error: ")
    assert answer.err.count("\n") <= 2
    assert "Traceback" not in answer.err
    for word in said:
        assert word in answer.err
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "multirun.yaml"] == []  # no clutter


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("trainer: {a: [\n", ["mine.yaml, line", "is no YAML", "mend the file"]),
        ("defaults:\n  - override /cut: bogus\n", ["unknown option cut=bogus", "early, head, layer, stage"]),
        ("defaults:\n  - override /cutt: head\n", ["unknown key or group 'cutt'", "did you mean 'cut'"]),
        ("trainer:\n  max_epoch: 3\n", ["unknown key 'trainer.max_epoch'", "did you mean 'max_epochs'"]),
        ("seed: ${nope.x}\n", ["seed", "nope.x"]),
        ("seed: many\n", ["seed='many' has the wrong type"]),
        ("- 1\n", ["case"]),
    ],
)
def test_a_mistake_in_the_users_own_case_is_told(tlx: Callable, tmp_path: Path, content: str, said: list[str]) -> None:
    (tmp_path / "conf" / "case").mkdir(parents=True)
    (tmp_path / "conf" / "case" / "mine.yaml").write_text(f"# @package _global_\n{content}")
    answer = tlx("--config-dir", str(tmp_path / "conf"), "case=mine")
    assert answer.code == 2
    assert answer.err.startswith("tlx: error: ")
    assert answer.err.count("\n") <= 2
    for word in said:
        assert word in answer.err


def test_a_folder_that_cannot_be_made_is_the_machines(tlx: Callable) -> None:
    for words in (["hydra.run.dir=/dev/null/x"], ["-m", "hydra.sweep.dir=/dev/null/x"]):
        answer = tlx("case=small_similar", *words)
        assert answer.code == 3
        assert answer.err.startswith("tlx: error: Not a directory: /dev/null/x; choose another folder")


def test_our_own_errors_pass() -> None:
    error = InputError("what", "mend")
    assert explain(error, "train") is error
    assert isinstance(explain(OSError(28, "No space left on device", "/x"), "train"), MachineError)
    assert str(explain(ValueError("first\nsecond"), "train")) == "first; see python -m tlx --help"
    assert "ValueError" in str(explain(ValueError(), "train"))
