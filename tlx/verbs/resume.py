"""``resume``: go on with an interrupted run, in its own folder, with its own settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tlx import caches
from tlx.config.cases import is_auto, read_auto
from tlx.config.check import check
from tlx.config.groups import BankFeatures, CustomBackbone
from tlx.config.knots import resolved as resolved_config
from tlx.config.roots import OwnBackbone, ResumeConfig, TrainConfig
from tlx.errors import InputError
from tlx.learner.checkpoints import repair
from tlx.learner.plan import plan
from tlx.network.freeze import TwoPhases
from tlx.results.clock import Clock
from tlx.results.console import console, say, summary
from tlx.results.log import logged
from tlx.results.run_folder import RunFolder
from tlx.secrecy import hidden, without_hidden
from tlx.storage import write_json
from tlx.verbs.auto import auto
from tlx.verbs.train import train


def resume(config: ResumeConfig, clock: Clock, command: str) -> dict[str, Any]:
    """Continue the run in ``config.run`` from its last state; repeat it where none was saved.

    The epochs of its last phase may grow, by ``trainer.max_epochs`` or ``freeze.finetune.epochs``: the schedule is then
    stretched over the new number of them.

    Raises:
        InputError: No run there, fewer epochs than it has, or more of a phase that has none.
    """
    folder = RunFolder.open(config.run)
    plain = folder.read_config()
    if is_auto(plain):
        if config.trainer.max_epochs is not None or config.freeze.finetune.epochs is not None:
            what = "the case of this run is not decided yet, and there is no training to extend"
            raise InputError(what, "resume it as it is, and extend it when it has ended")
        say(console(), "resume", "the case is not decided yet; advice is looked for again")
        asked = read_auto(plain, lambda saved: saved_config(saved, config.backbone))
        with logged(folder.log):
            return auto(asked, folder, clock, command)
    settings = saved_config(plain, config.backbone)
    out = console()
    extended = _extended(config, settings)
    told = _growth(settings, extended)
    if folder.result.is_file():
        result: dict[str, Any] = folder.read_result()
        if told and result.get("best") is None and len(plan(settings)) == 1:
            raise InputError("this run was solved on features and has no epochs to extend", "leave the epochs out")
        if not told:
            say(out, "resume", "this run is finished; nothing is left to do")
            try:
                summary(out, result)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise InputError(f"{folder.result} is damaged ({error!r:.200})", "run again") from None
            return result
    if told:
        say(out, "resume", f"{told}; the {settings.schedule.kind} schedule is stretched over them")
        plain["trainer"]["max_epochs"] = extended.trainer.max_epochs
        if isinstance(extended.freeze, TwoPhases):
            plain["freeze"]["finetune"]["epochs"] = extended.freeze.finetune.epochs
        settings = extended
        write_json(folder.config, plain)
    for phase in sorted(folder.checkpoints.glob("*/")):
        if damage := repair(phase):
            say(out, "resume", damage, "yellow")
    folder.failure.unlink(missing_ok=True)
    with logged(folder.log):
        return train(settings, folder, clock, command, resuming=True)


def _extended(config: ResumeConfig, settings: TrainConfig) -> TrainConfig:
    """Return a run's settings with the epochs that ``resume`` was asked for.

    Raises:
        InputError: Fewer epochs than the run has, or a number that its last phase does not go by.
    """
    trainer, freeze, last = settings.trainer, settings.freeze, plan(settings)[-1]
    own = isinstance(freeze, TwoPhases) and freeze.finetune.epochs is not None
    asked = {"trainer.max_epochs": config.trainer.max_epochs, "freeze.finetune.epochs": config.freeze.finetune.epochs}
    goes_by = "freeze.finetune.epochs" if own else "trainer.max_epochs"
    for key, wanted in asked.items():
        if wanted is None:
            continue
        if key != goes_by and not (key == "freeze.finetune.epochs" and isinstance(freeze, TwoPhases)):
            why = "has epochs of its own" if own else "has no such phase"
            what = f"{key}={wanted} extends nothing: {'phase finetune' if own else 'this run'} {why}"
            raise InputError(what, f"extend it by {goes_by}=N, above {last.epochs}")
        if wanted < last.epochs:
            raise InputError(f"{key}={wanted} is less than the run's {last.epochs}", "resume can only extend a run")
    if (most := config.trainer.max_epochs) is not None:
        settings = replace(settings, trainer=replace(trainer, max_epochs=most))
    if (most := config.freeze.finetune.epochs) is not None and isinstance(freeze, TwoPhases):
        settings = replace(settings, freeze=replace(freeze, finetune=replace(freeze.finetune, epochs=most)))
    return settings


def _growth(before: TrainConfig, after: TrainConfig) -> str:
    """Say how many epochs become how many; nothing where none are added."""
    had, has = plan(before)[-1], plan(after)[-1]
    phase = "" if had.name == "train" else f"{had.name}: "
    return f"{phase}{had.epochs} epochs become {has.epochs}" if has.epochs > had.epochs else ""


def saved_config(plain: dict[str, Any], own: OwnBackbone) -> TrainConfig:
    """Read a run's saved plain config; whose code a custom backbone is, the command line says, never the folder.

    Raises:
        InputError: A custom backbone without ``own`` to name it, with other arguments than it had, or the reverse.
    """
    resolved = caches.ours(without_hidden(resolved_config(plain)))
    backbone = resolved.get("backbone")
    if isinstance(backbone, dict) and backbone.get("kind") == CustomBackbone.kind:
        if own.target is None:
            what = "this run's backbone is a network of your own, and a run folder names no code"
            raise InputError(what, "name it again: backbone.target=MODULE.CLASS (and backbone.kwargs={...} as before)")
        had = backbone.get("kwargs") or {}
        if had != without_hidden(hidden(own.kwargs or {})):  # compared, never handed on
            told = ", ".join(f"{key}: {value}" for key, value in had.items()) if isinstance(had, dict) else had
            what = f"backbone.kwargs={hidden(own.kwargs)} is not what this run was trained with"
            raise InputError(what, f"if you trust the folder: 'backbone.kwargs={{{told}}}'")
        resolved["backbone"] = {**backbone, "target": own.target, "kwargs": own.kwargs}
    elif own.target is not None:
        raise InputError("backbone.target is for a run with backbone=custom, which this one is not", "leave it out")
    if isinstance(features := resolved.get("features"), dict):
        resolved["features"] = _renamed(features)
    if isinstance(logger := resolved.get("logger"), dict) and "tensorboard" in logger:  # once a switch of the one kind
        resolved["logger"] = {"kind": "tensorboard" if logger["tensorboard"] else "csv"}
    return check({key: value for key, value in resolved.items() if key != "output"}, TrainConfig)


def _renamed(features: dict[str, Any]) -> dict[str, Any]:
    """Return a run's ``features`` in today's words: ``memory``, as it was once called, is a bank without a folder."""
    if features.get("kind") != "memory":
        return features
    return {**features, "kind": BankFeatures.kind, "dir": None}
