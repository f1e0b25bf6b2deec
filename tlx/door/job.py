"""One job: from Hydra's config to a verb, and from whatever happens to an exit code."""

from __future__ import annotations

import gc
import importlib
import logging
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.text import Text

from tlx import errors
from tlx.config.cases import AUTO
from tlx.config.check import check
from tlx.config.knots import must_be_short, resolved
from tlx.config.roots import ROOTS, OwnBackbone, ResumeConfig, TrainConfig
from tlx.door.complaints import explain
from tlx.door.masks import mask, told
from tlx.door.processes import children_run, is_child, run_dir
from tlx.door.verdict import judge
from tlx.results.console import console, say
from tlx.results.console import error as say_error
from tlx.results.log import logged
from tlx.results.own_folder import must_lie_outside
from tlx.results.run_folder import LOCK, RunFolder, shown
from tlx.secrecy import discreet, hidden, secrets_in
from tlx.storage import read_json

WRITES = ("train", "pretrain")  # verbs that make a run folder


def run(verb: str, config: DictConfig, command: list[str], resuming: bool = False) -> int:
    """Run one job and return its exit code; record the reason where it fails. See :func:`perform`.

    Raises:
        KeyboardInterrupt: A signal ended the job, so that a sweep ends as well.
    """
    try:
        perform(verb, config, command, resuming)
        return errors.EXIT_DONE
    except BaseException as error:
        code, message = judge(error)
        if code == errors.EXIT_BUG and not isinstance(error, errors.TlxError):
            traceback.print_exception(error)
            message = f"this is a bug in tlx: {message}; please report it with the lines above"
        interrupted = code > errors.EXIT_SIGNAL
        if not is_child():
            say_error(discreet(message), wrong=not interrupted)
        if interrupted and HydraConfig.get().mode == RunMode.MULTIRUN:
            raise KeyboardInterrupt(code) from None
        return code


def perform(verb: str, config: DictConfig, command: list[str], resuming: bool = False) -> Any:
    """Run one job and return what the verb does; record the reason where it fails, and let the exception go on.

    ``resuming``: a run that stands in the job's folder already goes on, as far as it is not finished.
    """
    folder, made, secrets = None, False, frozenset[str]()
    try:
        path = run_dir(HydraConfig.get().runtime.output_dir)
        folder = RunFolder(path) if verb in WRITES else None
        secrets = frozenset(secrets_in(OmegaConf.to_container(config, resolve=False)))
        if folder is not None and not is_child():
            mask(folder.path, secrets)
        plain = plain_config(config, verb)
        secrets |= frozenset(secrets_in(OmegaConf.to_container(config, resolve=True)))
        checked = _checked(verb, plain)  # before anything heavy is imported, and before there is a folder
        if folder is not None and isinstance(checked, TrainConfig):
            must_lie_outside(folder.path, checked.data)
        asked = plain
        if verb == "advise" or plain.get("case") == AUTO:
            verb, checked, plain = _asking(verb, checked, plain)
        if resuming and folder is not None and folder.config.is_file():
            RunFolder.open(str(folder.path))
            verb, checked = "resume", _going_on(folder, asked)
            _begin(folder)
        elif folder is not None:
            _start_writing(folder, plain, verb)
            made = True
            _begin(folder)
        with logged(folder.log if folder else None, secrets), _held(verb, checked, folder):
            try:
                return _dispatch(verb, checked, folder, told(command, secrets))
            except errors.Interrupted as interruption:
                logging.getLogger("tlx").info("%s", interruption)
                raise
            except Exception:
                logging.getLogger("tlx").exception("the job failed")
                raise
    except BaseException as error:
        if folder is not None and not is_child() and not folder.result.exists():
            code, message = judge(error)
            _record(folder, discreet(message, secrets), code, made)
        raise


def plain_config(config: DictConfig, verb: str) -> dict[str, Any]:
    """Return the plain config, every interpolation left in place that reads the environment."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    must_be_short(raw)
    try:
        values: Any = OmegaConf.to_container(config, resolve=True)
    except Exception as error:
        raise explain(error, verb) from None
    plain: dict[str, Any] = _keep_environment(raw, values)
    choice = HydraConfig.get().runtime.choices.get("case")
    return {"case": choice, **plain} if "cut" in plain else plain


def _keep_environment(raw: Any, resolved: Any) -> Any:
    if isinstance(raw, Mapping) and isinstance(resolved, Mapping):
        return {key: _keep_environment(raw[key], resolved[key]) for key in resolved}
    return raw if isinstance(raw, str) and "${oc.env:" in raw else resolved


def _start_writing(folder: RunFolder, plain: dict[str, Any], verb: str) -> None:
    """Make the folder."""
    if verb == "train" and plain.get("case") is None:
        raise errors.InputError(
            "train needs a case",
            "case=small_similar, small_different, large_similar or large_different, which python -m tlx explains; "
            "case=auto finds out which",
        )
    if not is_child():
        RunFolder.create(folder.path, hidden(plain))


def _begin(folder: RunFolder) -> None:
    """Say which job of a sweep begins, or where a run's folder is: the heavy imports take seconds."""
    if is_child():
        return
    hydra, out = HydraConfig.get(), console()
    if hydra.mode == RunMode.MULTIRUN:
        out.print()
        out.rule(Text(f"job {hydra.job.num}: {' '.join(_swept(_overrides()))}"), align="left", characters="─")
    else:
        say(out, "folder", shown(folder.path))


def _overrides() -> list[str]:
    """Return this job's settings as they were given: one that another has replaced need not be resolvable."""
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [str(word) for word in words]


def _swept(words: Sequence[str]) -> list[str]:
    """Return those of a job's settings that others have otherwise: those do not stand on the command line as here."""
    typed = {word.replace("'", "") for word in sys.argv}
    return [word for word in words if word.replace("'", "") not in typed] or list(words)


def _checked(verb: str, plain: dict[str, Any]) -> Any:
    return check(resolved(plain), ROOTS[verb])


def _asking(verb: str, config: Any, plain: dict[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    """Compose the cases that advice chooses from: return the verb, what it takes, and what a run folder keeps."""
    from tlx.door.cases import compose_cases

    if verb not in ("train", "advise"):
        raise errors.InputError(f"case=auto is for train, not for {verb}", "choose one of the four cases, or advise")
    words, data = _overrides(), HydraConfig.get().runtime.choices["data"]
    backbones = config.backbones if verb == "advise" else []
    autos = [compose_cases(words, data, lambda c: plain_config(c, verb), name) for name in backbones or [""]]
    if verb == "advise":
        return verb, (config, autos), plain
    return AUTO, autos[0], autos[0].saved()


def _going_on(folder: RunFolder, plain: dict[str, Any]) -> ResumeConfig:
    """Return how the run in a folder goes on; whose code a custom backbone is, this command line says again."""
    return ResumeConfig(run=str(folder.path), backbone=own_backbone(plain))


def own_backbone(plain: Mapping[str, Any]) -> OwnBackbone:
    """Return whose code a network is, as a command line says it: what is saved does not, nor does it hold secrets."""
    backbone: Any = OmegaConf.to_container(OmegaConf.create(plain.get("backbone") or {}), resolve=True)
    custom = backbone.get("kind") == "custom"
    return OwnBackbone(backbone.get("target"), backbone.get("kwargs")) if custom else OwnBackbone()


def _dispatch(verb: str, config: Any, folder: RunFolder | None, command: str) -> Any:
    started = time.monotonic()
    with _unswept():
        module = importlib.import_module(f"tlx.verbs.{verb}")  # torch comes with it
        from tlx.results.clock import Clock

    clock = Clock(started, time.monotonic() - started)
    overrides = _overrides()
    if verb == "resume" and folder is not None:  # a job of a sweep that goes on
        overrides = [f"run={config.run}"]
    with children_run(verb, overrides, folder.path if folder else Path.cwd()):
        if verb == "resume":
            return module.resume(config, clock, command)
        if folder is not None:
            return getattr(module, verb)(config, folder, clock, command)
        return getattr(module, verb)(config)


def _held(verb: str, config: Any, folder: RunFolder | None) -> AbstractContextManager[None]:
    """Hold the folder that a job writes, but for its other processes: they share it with the first."""
    own = RunFolder.open(config.run) if verb == "resume" else folder
    return nullcontext() if own is None or is_child() else own.alone()


@contextmanager
def _unswept() -> Iterator[None]:
    """Import without looking for garbage, and never look at what was imported again: modules stay.

    Python looks through all of a hundred thousand objects again and again while they are made, and once more at its
    end: together two of the five seconds that imports and the end of the process took.
    """
    new, on = "torch" not in sys.modules, gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if new:
            gc.freeze()
        if on:
            gc.enable()


def _record(folder: RunFolder, message: str, code: int, made: bool) -> None:
    """Record a failure for the sweep's comparison; of a folder that cannot be written, say so.

    Of a single run that never began, the folder goes: what holds nothing is clutter. ``made``: whether this job made
    it; one that holds another run is left as it is.
    """
    single = HydraConfig.get().mode == RunMode.RUN
    try:
        if not single or (made and (code != errors.EXIT_INPUT or _holds_something(folder))):
            folder.fail(message, code)
        elif made:
            for file in (folder.config, folder.log, folder.data):
                file.unlink(missing_ok=True)
            _clear(folder.path)
        elif not folder.config.exists():
            _clear(folder.path)
    except (errors.TlxError, OSError):
        say_error(f"{folder.path} cannot be written; the reason of its failure is not kept")


def _holds_something(folder: RunFolder) -> bool:
    """Whether a training began, something was decided for it, or a scan listed the images that cannot be used."""
    listed = folder.data.exists() and read_json(folder.data).get("bad")
    return folder.began or folder.decisions.exists() or bool(listed)


def _clear(path: Path) -> None:
    """Remove what was made for a job that never began, and nothing else."""
    for file in (LOCK, ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"):
        (path / file).unlink(missing_ok=True)
    phases = sorted((path / "checkpoints").glob("*/"))
    for folder in (path / ".hydra", *phases, path / "checkpoints", path):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
