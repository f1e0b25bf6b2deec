"""Page: what a finished run's report needs besides its result, and the report itself."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict

from tlx.data.transforms import Prepare
from tlx.network.backbone import create
from tlx.network.network import Network, Surgery
from tlx.results.console import console, say
from tlx.results.page.report import write_report
from tlx.results.predictions import Predicted
from tlx.results.run_folder import shown
from tlx.storage import write_json
from tlx.training.mistakes import keep_mistakes
from tlx.training.outline import outline
from tlx.training.work import Work

log = logging.getLogger("tlx")


def make_page(work: Work, network: Network, final: Network, surgery: Surgery, said: Predicted) -> None:
    """Write ``surgery.json``, the worst mistakes on test images and ``report.html``.

    ``final`` is the network as it is saved, ``said`` what it says of the test images. A page that cannot be made costs
    a line, not the run: its result stands.
    """
    started, config, folder = time.monotonic(), work.config, work.folder
    try:
        whole = create(config.backbone, config.data.image_size).model
        write_json(folder.surgery, outline(config, network, whole, surgery, work.preprocessing.image_size))
        keep_mistakes(folder.mistakes, final, work.source.test, Prepare(**asdict(work.preprocessing)), said)
        write_report(folder)
    except Exception as error:
        log.exception("no report")
        again = f"python -m tlx report runs=[{shown(folder.path)}] tries again"
        say(console(), "report", f"could not be made: {type(error).__name__}: {error}; {again}", "yellow")
        return
    say(console(), "report", f"{shown(folder.report)} ({time.monotonic() - started:.1f} s)")
