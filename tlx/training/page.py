"""Page: what a finished run's report needs besides its result, and the report itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from tlx.data.source import Images
from tlx.data.transforms import Prepare
from tlx.network.backbone import create
from tlx.network.network import Network, Surgery
from tlx.results.console import console, say
from tlx.results.page.excused import excused
from tlx.results.page.report import write_report
from tlx.results.predictions import Predicted
from tlx.results.run_folder import RunFolder, shown
from tlx.storage import write_json
from tlx.training.mistakes import keep_mistakes
from tlx.training.outline import outline
from tlx.training.work import Work


def make_page(work: Work, network: Network, final: Network, surgery: Surgery, said: Predicted) -> None:
    """Write a run's ``surgery.json`` and its page; see :func:`make_page_of`.

    ``final`` is the network as it is saved, ``said`` what it says of the test images.
    """
    config, preprocessing = work.config, work.preprocessing

    def before() -> None:
        whole = create(config.backbone, config.data.image_size).model
        write_json(work.folder.surgery, outline(config, network, whole, surgery, preprocessing.image_size))

    make_page_of(work.folder, final, work.source.test, Prepare(preprocessing), said, before)


def make_page_of(
    folder: RunFolder,
    network: Network,
    images: Images,
    prepare: Prepare,
    said: Predicted,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Write the worst mistakes on some images, and ``report.html``.

    A page that cannot be made costs a line, not the run: its result stands.
    """
    started = time.monotonic()
    with excused("report", f"python -m tlx report runs=[{shown(folder.path)}] tries again"):
        before()
        keep_mistakes(folder.mistakes, network, images, prepare, said)
        write_report(folder)
        say(console(), "report", f"{shown(folder.report)} ({time.monotonic() - started:.1f} s)")
