"""A network of the user's own through the verbs: named on the command line, never by a run folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import tlx as package
from tests.conftest import Answer, runs_of
from tlx.storage import read_checkpoint, read_tensors

Command = Callable[..., Answer]

CODE = """
from torch import nn

class MyNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.fc = nn.Linear(2 * width, 10)

    def forward(self, images):
        return self.fc(self.late(self.early(images)).mean((2, 3)))
"""


def test_the_readmes_example_learns(tmp_path: Path) -> None:
    """Its file, its command and its way to read the run again, just as they stand there."""
    readme = (Path(package.__file__).parent.parent / "README.md").read_text()
    told = readme[readme.index("### Your own network") :]
    file, code, command, again = re.search(
        r"into `(\w+\.py)`:\n\n```python\n(.*?)```\n\n```bash\n(.*?)\n```.*?`(python -m tlx evaluate [^`]*)`",
        told,
        re.DOTALL,
    ).groups()  # type: ignore[union-attr]
    (tmp_path / file).write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parent.parent)}

    def shell(command: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, *command.split()[1:], "trainer=cpu"]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)

    first = shell(command)
    assert first.returncode == 0, first.stderr
    assert "my_net.MyNet, random weights, 5.18 k parameters kept" in first.stdout
    (run,) = runs_of(tmp_path)
    result = json.loads((run / "result.json").read_text())
    assert result["backbone"] == "my_net.MyNet"
    assert result["metrics"]["test"]["accuracy"] > 0.8
    assert result["parameters"]["dropped"] == 64 * 32 * 9 + 64 + 2 * 64 + 650
    second = shell(again.replace("run=RUN", f"run={run}"))
    assert second.returncode == 0, second.stderr
    assert f"{result['metrics']['test']['accuracy']:.4f}" in second.stdout


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Put the example under a name of this test's own, for modules are imported once, and the words that use it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE)
    return (
        "backbone=custom", f"backbone.target={name}.MyNet", "backbone.kwargs={width: 8}", "backbone.image_size=16",
        "init=scratch", "trainer=cpu", "data=digits", "data.per_class=4", "callbacks.progress=false",
        "hydra.run.dir=run",
    )  # fmt: skip


def names(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word.startswith(("backbone.target=", "backbone.kwargs=")))


def test_inspect_shows_the_users_network(tlx: Command, words: tuple[str, ...]) -> None:
    answer = tlx("inspect", "case=small_different", *words[:-1])
    assert answer.code == 0, answer.err
    assert "behind layer early" in answer.out  # half of its stages
    assert "early.0, early.1, early.2, late" in answer.out


def test_pretrained_by_tlx_then_reused(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = tlx("pretrain", "output=own.safetensors", *words, "trainer.max_epochs=1", "case=large_different")
    assert answer.code == 0, answer.err
    start = read_tensors(tmp_path / "own.safetensors")
    assert "early.0.weight" in start
    more = ("init=pretrained", "init.file=own.safetensors", "cut=layer", "cut.name=early", "hydra.run.dir=second")
    answer = tlx("case=small_similar", *words[:-1], *more)
    assert answer.code == 0, answer.err
    kept = read_tensors(tmp_path / "second" / "model" / "weights.safetensors")
    assert torch.equal(kept["trunk.model.early.0.weight"], start["early.0.weight"])
    assert not any("late" in name or "fc" in name for name in kept)


def test_a_finished_run_asks_whose_code_it_is(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert tlx("case=small_similar", *words).code == 0
    assert json.loads((tmp_path / "run" / "model" / "network.json").read_text())["backbone"] == {"kind": "custom"}
    for verb in ("evaluate", "resume"):
        answer = tlx(verb, "run=run")
        assert answer.code == 2
        assert "a run folder names no code; name it again: backbone.target=MODULE.CLASS" in answer.err
    answer = tlx("evaluate", "run=run", *names(words), "trainer=cpu")
    assert answer.code == 0, answer.err
    for verb in ("evaluate", "resume"):
        answer = tlx(verb, "run=run", names(words)[0])  # without its kwargs: another width
        assert answer.code == 2
        assert "backbone.kwargs=None is not what this run was trained with; " in answer.err
        assert "'backbone.kwargs={width: 8}'" in answer.err


def test_a_run_goes_on_with_the_users_code(tlx: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    full = ("case=large_different", *words[:-1], "cut=layer", "cut.name=late", "schedule=constant")
    assert tlx(*full, "trainer.max_epochs=2", "hydra.run.dir=long").code == 0
    assert tlx(*full, "trainer.max_epochs=1", "hydra.run.dir=short").code == 0
    answer = tlx("resume", "run=short", "trainer.max_epochs=2", *names(words))
    assert answer.code == 0, answer.err
    long, resumed = (
        read_checkpoint(tmp_path / run / "checkpoints" / "train" / "last.ckpt") for run in ("long", "short")
    )
    assert all(torch.equal(tensor, resumed["state_dict"][n]) for n, tensor in long["state_dict"].items())


def test_a_hostile_run_folder_imports_nothing(
    tlx: Command, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config and its model name a module that leaves a mark when it is imported, and os.system with an argument."""
    assert tlx("case=small_similar", *words).code == 0
    mark = tmp_path / "mark"
    (tmp_path / "own_hostile.py").write_text(f"open({str(mark)!r}, 'w').close()\n{CODE}")
    calls: list[str] = []
    monkeypatch.setattr(os, "system", lambda command: calls.append(command) or 0)
    config = tmp_path / "run" / "config.json"
    model = tmp_path / "run" / "model" / "network.json"
    plain, described = json.loads(config.read_text()), json.loads(model.read_text())
    for hostile in (
        {"target": "own_hostile.MyNet"},
        {"target": "os.system", "kwargs": {"command": f"touch {mark}"}},
        {"target": "own_hostile.MyNet", "_target_": "own_hostile.MyNet"},
    ):
        config.write_text(json.dumps({**plain, "backbone": {**plain["backbone"], **hostile}}))
        model.write_text(json.dumps({**described, "backbone": {"kind": "custom", **hostile}}))
        for verb in ("evaluate", "resume"):
            assert tlx(verb, "run=run").code == 2
        extended = tlx("resume", "run=run", "trainer.max_epochs=99")
        assert extended.code == 2
        code = tlx("evaluate", "run=run", *names(words), "trainer=cpu").code
        assert code == (2 if len(hostile) > 1 else 0)  # other arguments, an unknown key; else the user's word counts
        timm = {**plain["backbone"], **hostile, "kind": "timm"}
        config.write_text(json.dumps({**plain, "backbone": timm}))
        assert tlx("evaluate", "run=run").code == 2
    assert not mark.exists()
    assert calls == []
    answer = tlx("inspect", "case=large_different", *words[:-1], "backbone.target=own_hostile.MyNet")
    assert answer.code == 0, answer.err
    assert mark.exists()  # the mark is made when the user names it


def test_a_target_for_a_run_that_has_none_is_told(tlx: Command, words: tuple[str, ...]) -> None:
    tiny = ("backbone=timm", "backbone.name=test_resnet", "backbone.image_size=32", *words[4:])
    assert tlx("case=small_similar", *tiny).code == 0
    answer = tlx("evaluate", "run=run", *names(words))
    assert answer.code == 2
    assert "backbone.target is for a run with backbone=custom" in answer.err
    answer = tlx("resume", "run=run", "backbone.name=other")
    assert answer.code == 2
    assert "backbone.name cannot be changed" in answer.err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("backbone=custom",), "backbone.target is missing; give it: backbone.target="),
        (("backbone=custom", "backbone.target=os.system"), "backbone.image_size is missing"),
        (("backbone=custom", "backbone.target=no_such.Net", "backbone.image_size=16"), "there is no module no_such"),
        (("backbone=custom", "backbone.target=PIL.Image.new", "backbone.image_size=16"), "cannot be called with {}"),
        (
            ("backbone=custom", "backbone.target=json.dumps", "backbone.image_size=16"),
            "is Python's own",
        ),
        (
            ("backbone=custom", "backbone.target=torch.hub.load", "backbone.image_size=16"),
            "is torch.hub's",
        ),
        (
            ("cut=layer", "cut.name=fc"),
            "cut.name=fc holds the classifier, behind the last layer; take it off: cut=head",
        ),
        (("cut=layer", "cut.name=nope"), "cut.name=nope does not exist; one of: early, early.0"),
        (("data.image_size=3", "backbone.kwargs.width=-1"), "cannot be called with {'width': -1}"),
    ],
)
def test_what_cannot_be_is_told(tlx: Command, words: tuple[str, ...], more: tuple[str, ...], told: str) -> None:
    given = words[4:-1] if "backbone=custom" in more else words[:-1]
    answer = tlx("inspect", "case=large_different", *given, *more)
    assert answer.code == 2
    assert told in answer.err, answer.err
