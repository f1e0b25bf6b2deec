"""A finished run: its trained network, and the pace at which that is run again."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import NamedTuple

import pytorch_lightning as pl

from tlx.config.groups import Trainer
from tlx.config.roots import OwnBackbone, TrainConfig
from tlx.learner.plan import plan
from tlx.learner.trainer import make_trainer
from tlx.learner.trial import Pace
from tlx.network import model_folder
from tlx.network.memory_format import lay_out
from tlx.network.model_folder import Model
from tlx.results.decisions import Decisions
from tlx.results.run_folder import RunFolder
from tlx.verbs.resume import saved_config


class Finished(NamedTuple):
    """A run that has trained to its end."""

    folder: RunFolder
    settings: TrainConfig
    model: Model


def open_finished(run: str, own: OwnBackbone) -> Finished:
    """Open the run in the folder ``run``; ``own`` says whose code a custom backbone is.

    Raises:
        InputError: No run, one that is not finished, a damaged one.
    """
    folder = RunFolder.open(run)
    folder.must_be_finished()
    settings = saved_config(folder.read_config(), own)
    return Finished(folder, settings, model_folder.load(folder.model, settings.backbone))


def trainer_for(asked: Trainer, run: Finished) -> pl.Trainer:
    """Make the trainer that runs a finished run's network at its pace."""
    return make_trainer(replace(asked, precision=_lay_out_again(asked, run).precision))


def _lay_out_again(asked: Trainer, run: Finished) -> Pace:
    """Return the pace to run at: what is asked for, else that of the run's last training or of its features.

    The network's weights are laid out for it. A run from before paces were settled has what its config says, which may
    be ``auto``: nothing is known, and the weights stay as they are.
    """
    decisions = Decisions(run.folder.decisions)
    name = next((n for n in (f"pace/{plan(run.settings)[-1].name}", "pace/features") if n in decisions.taken), None)
    settled = asdict(decisions.read(name, Pace.read)) if name else {}
    parts = {
        name: given if given != "auto" else settled.get(name, had)
        for name, given, had in (
            ("precision", asked.precision, run.settings.trainer.precision),
            ("memory_format", asked.memory_format, run.settings.trainer.memory_format),
        )
    }
    pace = Pace(**parts)
    if pace.memory_format != "auto":
        lay_out(run.model.network.trunk, pace.memory_format)
    return pace
