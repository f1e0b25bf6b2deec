"""Files: written whole or not at all, read without running anything that stands in them."""

from __future__ import annotations

import errno
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx import storage
from tlx.errors import InputError, MachineError

Writer = Callable[[Path, Callable[[IO[bytes]], None]], None]


def naive(path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    """Write as most programs do: what the checks below must catch."""
    with path.open("wb") as file:
        fill(file)


def half(file: IO[bytes]) -> None:
    file.write(b"half of the new")
    raise RuntimeError("killed")


def interrupted(file: IO[bytes]) -> None:
    file.write(b"half of the new")
    raise KeyboardInterrupt


def survives(write: Writer, folder: Path, fill: Callable[[IO[bytes]], None]) -> bool:
    """Whether a write that fails half way leaves the old file whole and nothing beside it."""
    target = folder / "state"
    target.write_bytes(b"old")
    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        write(target, fill)
    return target.read_bytes() == b"old" and [p.name for p in folder.iterdir()] == ["state"]


@pytest.mark.parametrize("fill", [half, interrupted])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    assert survives(storage.write, tmp_path, fill)


def test_the_check_of_a_torn_write_can_fail(tmp_path: Path) -> None:
    assert not survives(naive, tmp_path, half)


def test_a_write_replaces_the_old_file_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "state"
    target.write_bytes(b"old")
    seen: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def watched_replace(self: Path, to: Path) -> Path:
        assert self.parent == to.parent  # a rename is atomic only within a filesystem
        assert to.read_bytes() == b"old"
        assert self.read_bytes() == b"new"
        seen.append("replace")
        return replace(self, to)

    def watched_fsync(handle: int) -> None:
        seen.append("fsync")
        fsync(handle)

    monkeypatch.setattr(Path, "replace", watched_replace)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    storage.write(target, lambda file: storage._discard(file.write(b"new")))
    assert target.read_bytes() == b"new"
    assert seen == ["fsync", "replace", "fsync"]  # the content, the name, the folder


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_machine_that_cannot_write_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, step: str
) -> None:
    target = tmp_path / "state"
    target.write_bytes(b"old")

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, fails)
        with pytest.raises(MachineError) as error:
            storage.write_text(target, "new")
    assert error.value.exit_code == 3
    assert f"cannot write {target}: {os.strerror(code)}" in str(error.value)
    assert ("free some space" in str(error.value)) == (code == errno.ENOSPC)
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "above" / "folder"

    def fill(folder: Path) -> None:
        (folder / "new").write_text("new")

    def broken(folder: Path) -> None:
        fill(folder)
        raise RuntimeError

    for _ in range(2):
        storage.write_folder(target, fill)
        assert [file.name for file in target.iterdir()] == ["new"]
        (target / "new").rename(target / "old")
    with pytest.raises(RuntimeError):
        storage.write_folder(target, broken)
    assert [file.name for file in target.iterdir()] == ["old"]
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").touch()
    replace = Path.replace

    def failing(self: Path, to: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(errno.ENOSPC, "no space left")
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(MachineError, match="free some space"):
        storage.write_folder(target, lambda folder: None)
    assert [file.name for file in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot write"):
        storage.write_text(tmp_path / "none" / "file", "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_is_no_success() -> None:
    """The real thing: /dev/full refuses every byte."""
    full = Path("/dev/full")

    def fill(_: IO[bytes]) -> None:
        with full.open("wb") as file:
            file.write(b"x")

    with pytest.raises(MachineError, match="free some space"):
        storage.write(Path("/dev/shm/tlx-full-disk-test"), fill)
    assert not Path("/dev/shm/tlx-full-disk-test").exists()


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "value.json"
    storage.write_json(file, value)
    assert storage.read_json(file) == value


def test_odd_file_names_survive(tmp_path: Path) -> None:
    storage.write_text(tmp_path / "names.csv", os.fsdecode(b"caf\xe9.png"))
    assert (tmp_path / "names.csv").read_bytes() == b"caf\xe9.png"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1,"])
def test_a_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "result.json"
    with pytest.raises(InputError, match="no file"):
        storage.read_json(file)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*result\.json"):
        storage.read_json(file)
    with pytest.raises(InputError, match="cannot read"):
        storage.read_json(tmp_path)


TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}


def test_tensors_come_back(tmp_path: Path) -> None:
    safe = tmp_path / "w.safetensors"
    shared = TENSORS["a.weight"]
    more = {"view": shared.T, "twin": shared, "part": shared[1:]}  # not contiguous; shared; shared in part
    storage.write_tensors(safe, {**TENSORS, **more})
    back = storage.read_tensors(safe)
    assert all(torch.equal(back[name], tensor) for name, tensor in more.items())
    assert all(torch.equal(back[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"state_dict": t, "epoch": 3}, lambda t: {"model": t}])
def test_tensors_come_back_from_torch_files(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    file = tmp_path / "w.pth"
    storage.write_checkpoint(file, wrap({f"module.{name}": tensor for name, tensor in TENSORS.items()}))
    back = storage.read_tensors(file)
    assert back.keys() == TENSORS.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in TENSORS.items())


class Hostile:
    """An object that writes a canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.canary, "pwned"))


@pytest.mark.parametrize("forced", [None, "1"])
@pytest.mark.parametrize("read", [storage.read_checkpoint, storage.read_tensors])
@pytest.mark.parametrize("form", ["torch", "pickle", "legacy"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_is_refused_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any], forced: str | None, form: str
) -> None:
    canary, file = tmp_path / "canary", tmp_path / "weights.pt"
    content = {"a": torch.ones(1), "b": Hostile(canary)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "torch")
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    with pytest.raises(InputError, match=r"weights\.pt"):
        read(file)
    assert not canary.exists()


def test_the_canary_sings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guard the very same file runs its code."""
    canary, file = tmp_path / "canary", tmp_path / "weights.pt"
    torch.save({"a": Hostile(canary)}, file)
    torch.load(file, weights_only=False)
    assert canary.exists()
    canary.unlink()
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        torch.load(file)  # safe by default, were it not for the variable
    assert canary.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@settings(max_examples=50, deadline=None)
@given(place=st.integers(0, 799), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, name: str, place: int, bit: int) -> None:
    file, tensors = tmp_path_factory.getbasetemp() / f"bits_{name}", {"a": torch.arange(200.0)}
    storage.write_tensors(file, tensors) if name.endswith("s") else storage.write_checkpoint(file, tensors)
    content = bytearray(file.read_bytes())
    content[content.index(tensors["a"].numpy().tobytes()) + place] ^= 1 << bit
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        storage.read_tensors(file)


def test_files_of_others_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    """The negative control of the test above: without a checksum a flipped bit passes."""
    from safetensors.torch import save_file

    save_file(TENSORS, tmp_path / "w.safetensors")
    content = bytearray((tmp_path / "w.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "w.safetensors").write_bytes(content)
    assert storage.read_tensors(tmp_path / "w.safetensors").keys() == TENSORS.keys()
    torch.save(TENSORS, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert storage.read_tensors(tmp_path / "old.pt").keys() == TENSORS.keys()


def test_what_killed_writers_have_left_is_swept_up_and_nothing_else(tmp_path: Path) -> None:
    stays = [tmp_path / name for name in ("last.ckpt", ".hidden", "x.tmp", ".gitignore", ".x.tmp", "in/.y.12.tmp")]
    goes = [tmp_path / name for name in (".last.ckpt.0123abcd.tmp", "in/.best.safetensors.89abcdef.tmp")]
    for file in (*stays, *goes):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    for end in ("tmp", "old"):
        (tmp_path / f".out.01234567.{end}").mkdir()
        (tmp_path / f".out.01234567.{end}" / "file").touch()
    storage.sweep_up(tmp_path)
    assert sorted(file for file in tmp_path.rglob("*") if file.is_file()) == sorted(stays)
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_named(tmp_path_factory: pytest.TempPathFactory, name: str, share: float) -> None:
    file = tmp_path_factory.getbasetemp() / name
    if name.endswith("pt"):
        storage.write_checkpoint(file, TENSORS)
    else:
        storage.write_tensors(file, TENSORS)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        storage.read_tensors(file)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_rubbish_is_named(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for name in ("r.safetensors", "r.pt"):
        file = tmp_path_factory.getbasetemp() / name
        file.write_bytes(content)
        with pytest.raises(InputError) as error:
            storage.read_tensors(file)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, torch.ones(2), "text", {"state_dict": 5}])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match="holds no named tensors"):
        storage.read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("address", ["https://example.org/w.safetensors", "http://example.org/w.pt", "s3://b/w.pt"])
def test_an_address_is_not_fetched(address: str) -> None:
    with pytest.raises(InputError, match="is a URL; download the file yourself"):
        storage.read_tensors(Path(address))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("w.safetensors", "w.pt"):
        with pytest.raises(InputError, match=r"no file .*check the path"):
            storage.read_tensors(tmp_path / name)
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="no file"):
            storage.read_tensors(tmp_path / name)


def test_a_checkpoint_holds_plain_types(tmp_path: Path) -> None:
    state = {"epoch": 3, "history": [{"loss": 0.5}], "weights": TENSORS}
    storage.write_checkpoint(tmp_path / "c.ckpt", state)
    back = storage.read_checkpoint(tmp_path / "c.ckpt")
    assert (back["epoch"], back["history"]) == (3, [{"loss": 0.5}])
    assert json.dumps(back["history"])
    storage.write_checkpoint(tmp_path / "d.ckpt", {"path": Path("x")})
    with pytest.raises(InputError, match="more than plain tensors"):
        storage.read_checkpoint(tmp_path / "d.ckpt")
