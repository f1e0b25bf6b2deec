"""``train case=auto``: take advice, then train as it says."""

from __future__ import annotations

from typing import Any

from tlx.config.cases import Auto
from tlx.data.module import ending_workers
from tlx.interruption import Interruption
from tlx.results.advice import verdict_lines
from tlx.results.clock import Clock
from tlx.results.console import console, say
from tlx.results.page.advice import make_advice_page
from tlx.results.run_folder import RunFolder
from tlx.secrecy import hidden
from tlx.storage import write_json
from tlx.verbs.advise import must_be_alone, taken
from tlx.verbs.train import announce_data, opened, train


def auto(asked: Auto, folder: RunFolder, clock: Clock, command: str) -> dict[str, Any]:
    """Find out which case suits the images, keep the advice in the run's folder, and train; return the result.

    A run that was interrupted before the advice stands takes it again; the features that it has computed are kept.

    Raises:
        TlxError: Whatever a person can mend.
    """
    config = asked.cases["small_similar"]
    must_be_alone(config)
    say(console(), "case", "auto: looks at the images, tries whole networks where that tells, then trains what suits")
    interruption = Interruption(folder.resume_command, lambda: "nothing is decided yet")
    with interruption.watch(), ending_workers():
        with clock.phase("data"):
            source = opened(config, folder, True)
        announce_data(config, source)
        with clock.phase("advice"):
            advice = taken(asked, source, folder.path, clock, interruption)
            told = advice.plain(asked)
            write_json(folder.advice, told)
            verdict_lines(console(), told)
            if config.report:
                make_advice_page(folder.path, told)
    typed, plain = advice.chosen(asked)
    write_json(folder.config, hidden(plain))
    return train(typed, folder, clock, command, source=source, survey=advice.survey)
