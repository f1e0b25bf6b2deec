"""Masks: what Hydra wrote of a command line keeps no secret, and everything else of it stays."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.types import RunMode
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tlx.door import masks
from tlx.door.masks import mask, told
from tlx.secrecy import MASK

CANARY = "CANARY7f31"
WORDS = [
    "seed=3",
    f"++backbone.kwargs.token={CANARY}",
    f"backbone.kwargs={{api_key: {CANARY}, depth: 3}}",
    f"data.root=https://person:{CANARY}@host/images",
    f"note=it was {CANARY}",
    "logger.password=${oc.env:PASSWORD}",
]
MASKED = [
    "seed=3",
    f"++backbone.kwargs.token={MASK}",
    f"backbone.kwargs={{api_key: {MASK}, depth: 3}}",
    f"data.root=https://{MASK}@host/images",
    f"note=it was {MASK}",
    "logger.password=${oc.env:PASSWORD}",
]


def mode(monkeypatch: pytest.MonkeyPatch, multirun: bool) -> None:
    now = SimpleNamespace(mode=RunMode.MULTIRUN if multirun else RunMode.RUN)
    monkeypatch.setattr(masks.HydraConfig, "get", lambda: now)


def written(path: Path, value: Any) -> Path:
    """Write what Hydra would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(value)))
    return path


def read(path: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.create(path.read_text()), resolve=False)


def hydras(words: list[str]) -> dict[str, Any]:
    return {"hydra": {"overrides": {"task": words}, "job": {"override_dirname": ",".join(words), "id": "???"}}}


def config(secret: str, person: str) -> dict[str, Any]:
    inner = {"token": secret, "class_token": True, "depth": 3, "also": [{"private_key": secret}]}
    return {"backbone": {"kwargs": inner}, "root": f"https://{person}@host", "seed": "${x}", "x": None}


@pytest.mark.parametrize("multirun", [False, True], ids=["run", "sweep"])
def test_every_file_keeps_all_but_the_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multirun: bool) -> None:
    mode(monkeypatch, multirun)
    folder = tmp_path / "0"
    overrides = written(folder / ".hydra" / "overrides.yaml", WORDS)
    job = written(folder / ".hydra" / "hydra.yaml", hydras(WORDS))
    own = written(folder / ".hydra" / "config.yaml", config(CANARY, f"person:{CANARY}"))
    sweep = written(tmp_path / "multirun.yaml", hydras(WORDS))
    mask(folder, {CANARY, f"person:{CANARY}"})
    assert read(overrides) == MASKED
    assert read(job) == hydras(MASKED)
    assert read(own) == config(MASK, MASK)
    # The file of a sweep is its own; beside a single run it is another's.
    assert (CANARY in sweep.read_text()) == (not multirun)
    assert read(sweep) == hydras(MASKED if multirun else WORDS)
    mask(folder, {CANARY, f"person:{CANARY}"})  # twice is once
    assert read(job) == hydras(MASKED)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ({"env_set": {"HF_TOKEN": CANARY}}, {"env_set": {"HF_TOKEN": MASK}}),
        ({"env_set": {"PROXY": f"http://me:{CANARY}@proxy"}}, {"env_set": {"PROXY": f"http://{MASK}@proxy"}}),
        ([f"hydra.job.env_set.PROXY=http://me:{CANARY}@proxy"], [f"hydra.job.env_set.PROXY=http://{MASK}@proxy"]),
        ([f"x.password={CANARY},other"], [f"x.password={MASK}"]),
    ],
)
def test_what_only_hydra_was_told_is_masked_without_knowing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, masked: Any
) -> None:
    """The config of the job has no such secret: it is known by its name or its place alone."""
    mode(monkeypatch, False)
    file = written(tmp_path / ".hydra" / "hydra.yaml", value)
    mask(tmp_path, ())
    assert read(file) == masked


def test_files_without_secrets_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mode(monkeypatch, True)
    kept = "# as Hydra wrote it\nseed:   3\nclass_token: true\n"
    file = tmp_path / "0" / ".hydra" / "config.yaml"
    file.parent.mkdir(parents=True)
    for secrets in ((), (CANARY,)):
        file.write_text(kept)
        mask(tmp_path / "0", secrets)
        assert file.read_text() == kept
    # The negative control: one secret, and it is written again, without the remark.
    file.write_text(kept + f"x: {CANARY}\n")
    mask(tmp_path / "0", (CANARY,))
    assert file.read_text() == f"seed: 3\nclass_token: true\nx: '{MASK}'\n"


def test_other_files_and_folders_without_any_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mode(monkeypatch, True)
    mask(tmp_path / "none", (CANARY,))
    assert not list(tmp_path.iterdir())
    (tmp_path / "own.yaml").write_text(CANARY)
    (tmp_path / ".hydra" / "folder.yaml").mkdir(parents=True)
    mask(tmp_path, (CANARY,))
    assert (tmp_path / "own.yaml").read_text() == CANARY


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_a_command_line_is_kept_so_that_a_shell_reads_it_again(words: list[str]) -> None:
    harmless = [word.replace("=", "-").replace(":", "-") for word in words]
    assert shlex.split(told(harmless, ())) == ["python", "-m", "tlx", *harmless]


def test_a_command_line_is_kept_without_secrets() -> None:
    kept = told(["train", *WORDS], (CANARY,))
    assert CANARY not in kept
    assert shlex.split(kept) == ["python", "-m", "tlx", "train", *MASKED]
    # The negative control: a word that nothing tells to be secret stays where nobody knows that it is.
    assert CANARY in told(WORDS, ())
