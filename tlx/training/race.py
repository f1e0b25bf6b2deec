"""Race: an arm from pretrained weights and one from random ones; the better one on validation data goes on."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

from tlx.config.groups import RaceInit, ScratchInit
from tlx.config.roots import TrainConfig
from tlx.learner.certificate import Certificate
from tlx.learner.checkpoints import BEST, Row, read_history
from tlx.learner.plan import Phase, plan
from tlx.network.network import Network, Surgery
from tlx.results.console import console, say
from tlx.storage import read_tensors
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
    for pause in pauses:
        for arm in standing:
            advance(work, arm, whole, pause)
        verdict = work.decisions.take(f"race/{pause}", partial(_verdict, work, init, final=pause == pauses[-1]))
        say(console(), "race", _told(verdict))
        if verdict["falls"] is not None:
            standing.remove(verdict["falls"])
            break
    (winner,) = standing
    network, surgery, certificate = advance(work, winner, whole, None)
    network.load_state_dict(read_tensors(work.folder.checkpoints / winner / BEST))
    rows = certificate.settle()
    taken = [work.decisions.taken[f"race/{pause}"] for pause in pauses if f"race/{pause}" in work.decisions.taken]
    curves = {arm: read_history(work.folder.checkpoints / arm) for arm in ARMS}
    record = {"winner": winner, "decisions": taken, "epochs": {a: len(c) for a, c in curves.items()}, "curves": curves}
    return network, surgery, Outcome(classify(work, network), None, rows), record


def _verdict(work: Work, init: RaceInit, final: bool) -> dict[str, Any]:
    histories = {arm: read_history(work.folder.checkpoints / arm) for arm in ARMS}
    return judge(histories, len(work.source.val.labels), work.config, init.margin, final)


def advance(work: Work, arm: str, whole: Phase, pause: int | None) -> tuple[Network, Surgery, Certificate]:
    """Train an arm from its saved state, if any, up to a pause or its end."""
    init = work.config.init
    assert isinstance(init, RaceInit)
    config = replace(work.config, init=init.pretrained() if arm == "pretrained" else ScratchInit())
    network, _, surgery = assemble(config, work.source)
    certificate = Certificate(network)
    others = tuple(replace(whole, name=other) for other in ARMS if other != arm)
    fit(work, network, replace(whole, name=arm), certificate, earlier=others, pause=pause, resuming=True)
    return network, surgery, certificate


def rungs(epochs: int, share: float) -> list[int]:
    """Return the pauses: after 1, 2, 4, ... epochs, and at last after a share of all, at least one epoch."""
    last = max(1, math.floor(share * epochs + 1e-9))
    return sorted({*(2**k for k in range(last.bit_length()) if 2**k < last), last})


def judge(
    histories: dict[str, list[Row]], counted: int, config: TrainConfig, margin: float, final: bool
) -> dict[str, Any]:
    """Compare the arms by their best validation metric so far; say which one falls, if any.

    The standard error of the difference takes the metric for the mean of ``counted`` independent images; for the loss,
    which is no share, there is none, and no arm falls before the last pause.
    """
    monitor = config.callbacks.checkpoint.monitor
    sign = -1.0 if monitor == "loss" else 1.0
    best = {arm: max(sign * float(row[f"val/{monitor}"]) for row in rows) for arm, rows in histories.items()}
    first, second = ARMS
    lead = best[first] - best[second]
    error = None if monitor == "loss" else math.sqrt(sum(p * (1 - p) for p in best.values()) / counted)
    decided = final or (error is not None and abs(lead) > margin * error)
    falls = (second if lead >= 0 else first) if decided else None
    return {
        "epochs": len(histories[first]),
        "monitor": monitor,
        "best": {arm: sign * value for arm, value in best.items()},
        "standard_error": error,
        "falls": falls,
    }


def _told(verdict: dict[str, Any]) -> str:
    scores = ", ".join(f"{arm} {value:.4f}" for arm, value in verdict["best"].items())
    end = f"{verdict['falls']} falls" if verdict["falls"] else "both go on"
    return f"after {verdict['epochs']} epochs, best validation {verdict['monitor']}: {scores}; {end}"
