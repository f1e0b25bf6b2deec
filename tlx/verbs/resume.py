"""``resume``: go on with an interrupted run, in its own folder, with its own settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from tlx.config.check import check
from tlx.config.groups import CustomBackbone
from tlx.config.roots import OwnBackbone, ResumeConfig, TrainConfig
from tlx.errors import InputError
from tlx.results.clock import Clock
from tlx.results.console import console, say, summary
from tlx.results.log import logged
from tlx.results.run_folder import RunFolder
from tlx.storage import read_json, write_json
from tlx.verbs.train import train


def resume(config: ResumeConfig, clock: Clock, command: str) -> dict[str, Any]:
    """Continue the run in ``config.run`` from its last state; repeat it where none was saved.

    ``trainer.max_epochs`` may grow: the schedule is then stretched over the new number of epochs.

    Raises:
        InputError: No run there, or fewer epochs than it has.
    """
    folder = RunFolder.open(config.run)
    plain = folder.read_config()
    settings = saved_config(plain, config.backbone)
    out = console()
    wanted, had = config.trainer.max_epochs, settings.trainer.max_epochs
    if wanted is not None and wanted < had:
        raise InputError(f"trainer.max_epochs={wanted} is less than the run's {had}", "resume can only extend a run")
    if folder.result.is_file() and wanted in (None, had):
        say(out, "resume", "this run is finished; nothing is left to do")
        result: dict[str, Any] = read_json(folder.result)
        summary(out, result)
        return result
    if wanted is not None and wanted > had:
        say(
            out, "resume", f"{had} epochs become {wanted}; the {settings.schedule.kind} schedule is stretched over them"
        )
        plain["trainer"]["max_epochs"] = wanted
        settings = replace(settings, trainer=replace(settings.trainer, max_epochs=wanted))
        write_json(folder.config, plain)
    folder.failure.unlink(missing_ok=True)
    with logged(folder.log):
        return train(settings, folder, clock, command, resuming=True)


def saved_config(plain: dict[str, Any], own: OwnBackbone) -> TrainConfig:
    """Read a run's saved plain config; whose code a custom backbone is, the command line says, never the folder.

    Raises:
        InputError: A custom backbone without ``own`` to name it, with other arguments than it had, or the reverse.
    """
    resolved: Any = OmegaConf.to_container(OmegaConf.create(plain), resolve=True)
    backbone = resolved.get("backbone")
    if isinstance(backbone, dict) and backbone.get("kind") == CustomBackbone.kind:
        if own.target is None:
            what = "this run's backbone is a network of your own, and a run folder names no code"
            raise InputError(what, "name it again: backbone.target=MODULE.CLASS (and backbone.kwargs={...} as before)")
        if (had := backbone.get("kwargs") or {}) != (own.kwargs or {}):  # compared, never handed on
            told = ", ".join(f"{key}: {value}" for key, value in had.items()) if isinstance(had, dict) else had
            what = f"backbone.kwargs={own.kwargs} is not what this run was trained with"
            raise InputError(what, f"if you trust the folder: 'backbone.kwargs={{{told}}}'")
        resolved["backbone"] = {**backbone, "target": own.target, "kwargs": own.kwargs}
    elif own.target is not None:
        raise InputError("backbone.target is for a run with backbone=custom, which this one is not", "leave it out")
    return check({key: value for key, value in resolved.items() if key != "output"}, TrainConfig)
