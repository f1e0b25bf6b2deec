"""Phases: a network is trained phase by phase; each takes the best weights of the one before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tlx.config.groups import BankFeatures, SgdSolver, SurgicalFreeze
from tlx.data.source import SPLITS
from tlx.features.bank import Bank
from tlx.features.chunks import chunks
from tlx.features.drawn_rows import DrawnRows
from tlx.features.solution import install
from tlx.features.solver import solve
from tlx.learner.certificate import Certificate
from tlx.learner.checkpoints import BEST, LAST, Checkpoints, Paused, Row, read_history, read_position
from tlx.learner.compiled import compile_forward
from tlx.learner.learner import Learner
from tlx.learner.metrics import VALIDATED, measure
from tlx.learner.mix import mix_for
from tlx.learner.plan import Phase, plan, segments
from tlx.learner.progress import ProgressBar
from tlx.network.head_alone import HeadAlone
from tlx.network.inference import Classifier, predict
from tlx.network.network import Network
from tlx.results.console import console, say
from tlx.storage import make_folder, read_tensors, write_tensors
from tlx.training.kept import kept
from tlx.training.lr_range import with_rate
from tlx.training.pace import settle_pace
from tlx.training.reading import Reading
from tlx.training.recommend import recommend
from tlx.training.survey import Survey
from tlx.training.work import Work, on_features, solvable

log = logging.getLogger("tlx")

Logits = dict[str, torch.Tensor]  # by split: (N, K)


@dataclass(frozen=True)
class Outcome:
    """What a training left: logits of every split, how a solver got there, the certificate's rows, and which phase and
    epoch the kept weights are from (see ``kept``).
    """

    logits: Logits
    solver: dict[str, Any] | None
    certificate: list[dict[str, Any]]
    best: dict[str, Any] | None


def train_phases(work: Work, network: Network, survey: Survey | None = None) -> Outcome:
    """Train a network as its policy's plan says, in place; test images come last.

    A resumed run goes on in the phase that its last saved state belongs to. ``survey``: the untrained backbone, read
    at every depth, where somebody has done that already.
    """
    phases = plan(work.config)
    certificate = Certificate(network)
    begun = [
        phase.index for phase in phases if work.resuming and (work.folder.checkpoints / phase.name / LAST).exists()
    ]
    if begun:
        reached = phases[max(begun)]
        say(console(), "resume", _where(work, reached))
    logits: Logits = {}
    for phase in phases[max(begun, default=0) :]:
        if isinstance(work.config.freeze, SurgicalFreeze) and phase.index:
            recommend(work, network, work.config.freeze)
        earlier = phases[: phase.index]
        if on_features(work.config, network, phase):
            known = survey if phase.index == 0 else None
            logits = train_head(work, network, phase, certificate, earlier, last=phase is phases[-1], survey=known)
        else:
            take_best(work, fit(work, network, phase, certificate, earlier))
    solver = work.decisions.taken.get("solver")
    rows = certificate.settle()
    best = kept(work, phases)
    if best and best["unbeaten_by"] and work.decisions.writes:
        say(console(), best["unbeaten_by"], f"no epoch beat the {best['phase']}; its weights are kept")
    return Outcome(logits or classify(work, network), solver, rows, best)


def _where(work: Work, phase: Phase) -> str:
    """Say where a phase goes on, its epochs counted from 1 as the progress does."""
    epoch, batches = read_position(work.folder.checkpoints / phase.name)
    told = "" if phase.name == "train" else f"phase {phase.name}: "
    if epoch >= phase.epochs:
        return f"{told}all of its {phase.epochs} epochs are done"
    count = len(work.images(work.trainer()).order)
    where = f"after {batches} of {count} batches" if batches else "from its start"
    return f"{told}goes on in epoch {epoch + 1} of {phase.epochs}, {where}"


def train_head(
    work: Work,
    network: Network,
    phase: Phase,
    certificate: Certificate,
    earlier: tuple[Phase, ...],
    last: bool,
    survey: Survey | None = None,
) -> Logits:
    """Read features from the bank and train the head on them; test features come after the head is settled."""
    features = work.config.features
    assert isinstance(features, BankFeatures)
    images = work.images(work.trainer())
    with work.clock.phase("features"):
        reading = Reading(work, network, images, survey)
        learned, val = reading.read("train", features.views), reading.read("val")
    if solvable(work.config, network, phase):
        certificate.enter(phase.index, phase.name, 0)
        told = _solved(work, network, learned, val, images.class_weights(solving=True))
        certificate.close()
    else:
        rows = {"train": learned, "val": val}
        take_best(work, fit(work, network, phase, certificate, earlier, rows=rows))
        told = {"kind": SgdSolver.kind}
    work.decisions.take("solver", lambda: told)
    if not last:
        return {}
    with work.clock.phase("features"):
        banks = {"train": reading.read("train"), "val": val, "test": reading.read("test")}
    with work.clock.phase("evaluate"):
        return {split: _logits(network, bank) for split, bank in banks.items()}


def _solved(work: Work, network: Network, train: Bank, val: Bank, weights: torch.Tensor | None) -> dict[str, Any]:
    """Solve the head; return what the solver tells of it."""
    solver = work.config.solver
    assert not isinstance(solver, SgdSolver)
    with work.clock.phase("fit"):
        solution = solve(train, val, len(work.source.classes), solver, weights)
        install(solution, network)
    log.info("solver: %s", solution.path)
    return {"kind": solver.kind, **solution.chosen, "path": list(solution.path)}


def _logits(network: Network, bank: Bank) -> torch.Tensor:
    """Classify a bank's rows (N, D), which may be more than memory holds."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network.head.classify(torch.from_numpy(rows)) for _, rows in chunks(bank.features)])


def fit(
    work: Work,
    network: Network,
    phase: Phase,
    certificate: Certificate,
    earlier: tuple[Phase, ...] = (),
    pause: float | None = None,
    resuming: bool | None = None,
    rows: Mapping[str, Bank] | None = None,
) -> Learner:
    """Train a phase by gradient descent, from its last saved state where there is one.

    ``earlier``: the phases whose rows stand above this one's in ``metrics.csv``. ``pause``: stop for now after so
    many epochs, in the middle of one if need be. ``rows``: the features that the head is trained on, by split.
    """
    pace = settle_pace(work, network, phase) if rows is None else None
    varies = len(list(segments(network, phase))) > 1
    trainer = work.trainer(phase.epochs, varies, pace.precision if pace else None)
    images = work.images(trainer, phase.seed(work.config.seed))
    for split, bank in (rows or {}).items():
        images.instead[split] = DrawnRows(bank, len(work.source.split(split).labels))
    trained = network if rows is None else HeadAlone(network)
    certificate.enter(phase.index, phase.name, 0)
    phase = with_rate(work, trained, phase, trainer, images)
    if work.config.trainer.compile and pace:
        batch = max(1, images.order.batch_size // trainer.world_size)  # the order counts all processes together
        with work.clock.phase("fit"):
            compile_forward(network, batch, trainer.strategy.root_device, pace)
    learner = Learner(
        trained,
        len(work.source.classes),
        phase,
        work.config.regularizer,
        images.class_weights(),
        certificate,
        phase.seed(work.config.seed),
        mix_for(work.config.augment, len(work.source.classes)) if rows is None else None,
    )
    home = work.folder.checkpoints / phase.name
    make_folder(work.folder.checkpoints)
    make_folder(home)
    goes_on = work.resuming if resuming is None else resuming
    state = str(home / LAST) if goes_on and (home / LAST).is_file() else None
    start = standing(work, network, phase) if phase.index and state is None else None
    past = [row for other in earlier for row in read_history(work.folder.checkpoints / other.name)]
    checkpoints = Checkpoints(
        home, work.config.callbacks, phase.early_stopping, work.interruption, work.folder.metrics, past, pause, start
    )
    trainer.callbacks.append(checkpoints)  # type: ignore[attr-defined]
    show_progress(work, trainer, checkpoints, phase.name if phase.name != "train" else "")
    with work.clock.phase("fit"), work.interruption.defer():
        try:
            trainer.fit(learner, datamodule=images, ckpt_path=state)
        except Paused:
            log.info("paused after %s epochs", pause)
    certificate.close()
    return learner


def take_best(work: Work, learner: Learner) -> None:
    """Load what a phase kept."""
    learner.network.load_state_dict(read_tensors(work.folder.checkpoints / learner.phase.name / BEST))


def standing(work: Work, network: Network, phase: Phase) -> Row:
    """Validate what an earlier phase handed on, as the best so far: a phase never ends worse than it began."""
    trainer = work.trainer(precision=settle_pace(work, network, phase).precision)  # as its epochs are validated
    with work.clock.phase("fit"):
        logits = predict(trainer, Classifier(network), work.images(trainer).plain_loader("val"))
    measured = measure(logits, torch.from_numpy(work.source.val.labels), list(work.source.classes))
    if trainer.is_global_zero:
        write_tensors(work.folder.checkpoints / phase.name / BEST, network.state_dict())
        reached = f"accuracy {measured['accuracy']:.4f}, loss {measured['loss']:.4f} on validation images"
        say(console(), plan(work.config)[phase.index - 1].name, f"{reached}; {phase.name} goes on from there")
    return {"phase": phase.name, "epoch": -1, **{f"val/{name}": measured[name] for name in VALIDATED}}


def classify(work: Work, network: Network) -> Logits:
    """Classify every split, in the precision of the last training."""
    trainer = work.trainer(precision=settle_pace(work, network, plan(work.config)[-1]).precision)
    show_progress(work, trainer)
    images = work.images(trainer)
    with work.clock.phase("evaluate"):
        return {split: predict(trainer, Classifier(network), images.plain_loader(split)) for split in SPLITS}


def show_progress(work: Work, trainer: Any, checkpoints: Checkpoints | None = None, phase: str = "") -> None:
    """Add a progress bar where one is wanted."""
    if work.config.callbacks.progress:
        trainer.callbacks.append(ProgressBar(console(), checkpoints, phase))
