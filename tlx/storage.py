"""Files: written whole or not at all, read without running anything that stands in them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tlx.errors import InputError, MachineError

if TYPE_CHECKING:
    import torch

CHECKSUM = "sha256"  # of the tensors, among the metadata of a safetensors file
TEMPORARY, REPLACED = ".tmp", ".old"  # at the end of the names of what is being written, and of what it replaces
DEEPEST = 100  # levels of a JSON file


def write(path: Path, fill: Callable[[IO[bytes]], None], before: Path | None = None) -> None:
    """Write a file atomically: a temporary file beside the target, fsync, ``os.replace``.

    The temporary file stands in the target's own folder, because a rename is atomic only within a filesystem
    (``TMPDIR`` often lies on another). A failure leaves the old file as it was and no temporary file behind. With
    ``before``, the old file takes that name, when the new one is whole.

    Raises:
        MachineError: The disk is full, the folder is read-only or missing.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        try:
            with temporary.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            if before is not None and path.exists():
                path.replace(before)
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder whole or not at all: filled beside the target, then put in its place; what stood there goes.

    ``fill`` is handed a new folder, whose files are made durable before it gets its name.

    Raises:
        MachineError: The disk is full, the folder above is read-only.
    """
    mark = secrets.token_hex(4)
    temporary, old = (path.with_name(f".{path.name}.{mark}{end}") for end in (TEMPORARY, REPLACED))
    try:
        try:
            temporary.mkdir(parents=True)
            fill(temporary)
            for file in temporary.iterdir():
                with file.open("rb+") as handle:
                    os.fsync(handle.fileno())
            if path.exists():
                path.replace(old)
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            if old.exists() and not path.exists():
                old.replace(path)
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder in one that is there, unless it is there as well.

    Raises:
        MachineError: The folder above is gone or read-only.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None


def sweep_up(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder and below it; nobody else may be writing there."""
    for pattern in (f".*.????????{TEMPORARY}", f".*.????????{REPLACED}"):
        for left in folder.rglob(pattern):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cannot_write(path: Path, error: OSError, key: str = "hydra.run.dir") -> MachineError:
    """Say why a path cannot be written, and what to do; ``key`` is what names its folder on the command line."""
    mend = "free some space" if error.errno == errno.ENOSPC else f"choose another folder: {key}=PATH"
    return MachineError(f"cannot write {path}: {error.strerror or error}", mend)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    write(path, lambda file: _discard(file.write(content)))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; characters that are no valid Unicode (odd file names) survive."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically; one that several names share is written under each of them."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    places = {tensor.untyped_storage().data_ptr() for tensor in plain.values()}
    if len(places) < len(plain):  # the format knows no sharing
        plain = {name: tensor.clone() for name, tensor in plain.items()}
    write_bytes(path, save(plain, {**(metadata or {}), CHECKSUM: checksum(plain)}))


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Hash names, types, shapes and bytes of tensors (sha256, hex)."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)};".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()


def write_checkpoint(path: Path, state: Any, before: Path | None = None) -> None:
    """Write a torch checkpoint atomically; what stood there becomes ``before``."""
    import torch

    write(path, lambda file: torch.save(state, file), before)


def read_text(path: Path) -> str:
    """Read what ``write_text`` wrote.

    Raises:
        InputError: The file is missing or cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise InputError(f"no file {path}", "check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}", "restore the file or run again") from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: The file is missing or is not JSON.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
        _must_be_shallow(value)
        return value
    except FileNotFoundError:
        raise InputError(f"no file {path}", "check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}", "restore the file or run again") from None


def _must_be_shallow(value: Any) -> None:
    """Refuse what is nested so deeply that whoever goes through it runs out of stack."""
    level = [value]
    for _ in range(DEEPEST):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        if not (level := [value for values in inner for value in values]):
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def read_checkpoint(path: Path, mapped: bool = False) -> Any:
    """Read a torch file of plain tensors and plain types; code in it is refused, not run.

    ``mapped``: tensors are read from the file when they are used, for a reader who wants what stands beside them.

    Raises:
        InputError: The file is missing, truncated, or holds more than plain tensors and types.
    """
    import torch

    _must_exist(path)
    _must_be_whole(path)
    try:
        # Stated: the environment cannot turn weights_only off.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} is damaged or holds more than plain tensors", "give a safetensors file, or a saved state_dict"
        ) from None
    except Exception as error:  # torch's reader raises whatever a damaged file leads it to
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is truncated or no torch file ({reason})", "copy or download it again") from None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors from safetensors or from a torch file (``{name: tensor}``, also under "state_dict", "model").

    Raises:
        InputError: The file is missing, truncated, or holds anything but plain tensors.
    """
    if path.suffix != ".safetensors":
        return _tensors_of(read_checkpoint(path), path)
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    _must_exist(path)
    try:
        tensors = dict(load_file(path))
        with safe_open(path, "pt") as file:
            known = (file.metadata() or {}).get(CHECKSUM)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is truncated or no safetensors file ({error})", "copy or download it again") from None
    if known is not None and known != checksum(tensors):
        raise InputError(f"{path} is damaged: its checksum is another", "copy it again, or train again")
    return tensors


def _tensors_of(content: Any, path: Path) -> dict[str, torch.Tensor]:
    import torch

    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if isinstance(content, Mapping):
        tensors = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
        if tensors:
            return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    raise InputError(f"{path} holds no named tensors", "give a saved state_dict: {name: tensor}")


def _must_be_whole(path: Path) -> None:
    """Compare a torch file with the checksums that stand in it, which torch itself never looks at.

    Raises:
        InputError: They are others.
    """
    if not zipfile.is_zipfile(path):  # an older torch's, or none at all
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError, RuntimeError) as error:
        damaged = str(error)
    if damaged is not None:
        raise InputError(f"{path} is damaged ({damaged})", "copy or download it again")


def _must_exist(path: Path) -> None:
    if re.match(r"[a-z][a-z0-9+.]+:/", str(path)):  # a Path has lost the second slash
        raise InputError(f"{path} is a URL", "download the file yourself and give its path")
    if not path.is_file():
        raise InputError(f"no file {path.absolute()}", "check the path")


def _discard(_: object) -> None:
    """Give a callback that returns something the type of one that does not."""
