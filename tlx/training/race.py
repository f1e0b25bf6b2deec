"""Race: an arm from pretrained weights and one from random ones; the better one on validation data goes on."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from tlx.config.groups import RaceInit, ScratchInit
from tlx.learner.certificate import Certificate
from tlx.learner.checkpoints import BEST, read_history
from tlx.learner.learner import Learner
from tlx.learner.plan import Phase, plan
from tlx.network.inference import Classifier, predict
from tlx.network.network import Network, Surgery
from tlx.results.console import console, say
from tlx.storage import read_tensors
from tlx.training.kept import kept
from tlx.training.pace import settle_pace
from tlx.training.phases import Outcome, classify, fit
from tlx.training.work import Work, assemble

ARMS = ("pretrained", "scratch")  # the first goes on where both are equal


def race(work: Work, init: RaceInit) -> tuple[Network, Surgery, Outcome, dict[str, Any]]:
    """Race both arms, train the better one to its end, and return it with the race's record.

    An arm that goes on does so from its own saved state, exactly: what comes out is bit for bit what that arm alone
    would have become. Decisions are kept; a resumed race takes them over.
    """
    (whole,) = plan(work.config)
    standing = list(ARMS)
    pauses = rungs(whole.epochs, init.share)
    verdicts: list[dict[str, Any]] = []
    for pause in pauses:
        scores = {a: work.decisions.take(f"race/{pause:g}/{a}", partial(score, work, a, whole, pause)) for a in ARMS}
        verdict = {"epochs": pause, **judge(scores, init.margin, final=pause == pauses[-1])}
        verdicts.append(work.decisions.take(f"race/{pause:g}", partial(dict, verdict)))
        say(console(), "race", _told(verdicts[-1]))
        if verdicts[-1]["falls"] is not None:
            standing.remove(verdicts[-1]["falls"])
            break
    (winner,) = standing
    network, surgery, certificate, _ = advance(work, winner, whole, None)
    network.load_state_dict(read_tensors(work.folder.checkpoints / winner / BEST))
    rows = certificate.settle()
    curves = {arm: read_history(work.folder.checkpoints / arm) for arm in ARMS}
    cost = 1 + verdicts[-1]["epochs"] / whole.epochs  # in trainings of one arm
    record = {"winner": winner, "decisions": verdicts, "cost": cost, "curves": curves}
    best = kept(work, [replace(whole, name=winner)])
    return network, surgery, Outcome(classify(work, network), None, rows, best), record


def score(work: Work, arm: str, whole: Phase, pause: float) -> dict[str, float]:
    """Train an arm up to a pause; measure it on validation images: mean loss (nats), its standard error, accuracy."""
    network, _, _, learner = advance(work, arm, whole, pause)
    trainer = work.trainer(precision=settle_pace(work, network, whole).precision)
    with learner.kept(), work.clock.phase("fit"):
        logits = predict(trainer, Classifier(network), work.images(trainer).plain_loader("val"))
    labels = torch.from_numpy(work.source.val.labels)
    losses = F.cross_entropy(logits, labels, reduction="none")
    return {
        "loss": float(losses.mean()),
        "standard_error": float(losses.std(correction=0)) / math.sqrt(len(losses)),
        "accuracy": float((logits.argmax(1) == labels).float().mean()),
    }


def advance(work: Work, arm: str, whole: Phase, pause: float | None) -> tuple[Network, Surgery, Certificate, Learner]:
    """Train an arm from its saved state, if any, up to a pause or its end."""
    init = work.config.init
    assert isinstance(init, RaceInit)
    config = replace(work.config, init=init.pretrained() if arm == "pretrained" else ScratchInit())
    network, _, surgery = assemble(config, work.source)
    certificate = Certificate(network)
    others = tuple(replace(whole, name=other) for other in ARMS if other != arm)
    phase = replace(whole, name=arm)
    learner = fit(work, network, phase, certificate, earlier=others, pause=pause, resuming=True)
    return network, surgery, certificate, learner


def rungs(epochs: int, share: float) -> list[float]:
    """Return the pauses, in epochs: a quarter, a half and the whole of a share of all."""
    return [share * epochs / part for part in (4, 2, 1)]


def judge(scores: dict[str, dict[str, float]], margin: float, final: bool) -> dict[str, Any]:
    """Compare the arms by their validation loss; say which one falls, if any.

    The loss tells finer than the accuracy of the same images. The standard error of the difference takes the losses of
    both arms for independent, and is too large for losses on the same images: early on, an arm falls only by a lot.
    """
    first, second = ARMS
    lead = scores[second]["loss"] - scores[first]["loss"]
    error = math.hypot(scores[first]["standard_error"], scores[second]["standard_error"])
    decided = final or abs(lead) > margin * error
    return {
        "loss": {arm: scores[arm]["loss"] for arm in ARMS},
        "accuracy": {arm: scores[arm]["accuracy"] for arm in ARMS},
        "standard_error": error,
        "falls": (second if lead >= 0 else first) if decided else None,
    }


def _told(verdict: dict[str, Any]) -> str:
    losses = ", ".join(f"{arm} {value:.4f}" for arm, value in verdict["loss"].items())
    end = f"{verdict['falls']} falls" if verdict["falls"] else "both go on"
    return f"after {verdict['epochs']:.3g} epochs, validation loss {losses} (± {verdict['standard_error']:.4f}): {end}"
