"""A browser opens the pages of the four cases and of their sweep: nothing is missing, nothing leaves the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
CASES = ("small_similar", "small_different", "large_similar", "large_different")
LOOKS = {
    "small_similar": "frozen",
    "small_different": "frozen",
    "large_similar": "trained",
    "large_different": "random",
}
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    words = ["-m", f"case={','.join(CASES)}", "data.per_class=12", "data.val_per_class=5", "data.test_per_class=5"]
    words = [*words[:3], "trainer.max_epochs=2", f"hydra.sweep.dir={folder}"]
    environment = {**os.environ, "TLX_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "tlx", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    advise = ["advise", "trials=false", "data.per_class=12", f"output={folder / 'advice'}"]
    advise += ["backbones=[embedded,test_resnet]"]
    done = subprocess.run(
        [sys.executable, "-m", "tlx", *advise], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


def look(browser: Any, path: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """Open a page; return it, and everything that it complains of or asks of anybody."""
    told: list[str] = []
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    own = path.as_uri()
    page.on("request", lambda ask: ask.url == own or ask.url.startswith("data:") or told.append(ask.url))
    page.goto(own)
    return page, told


def hidden(page: Any) -> list[str]:
    """Name the sections that nobody sees."""
    script = """() => [...document.querySelectorAll('header, section')].filter(part => {
        const box = part.getBoundingClientRect(), style = getComputedStyle(part);
        return box.width < 200 || box.height < 40 || style.visibility !== 'visible' || !part.innerText.trim()
    }).map(part => part.id)"""
    return list(page.evaluate(script))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_whole_and_alone(sweep: Path, browser: Any, width: int, scheme: str) -> None:
    reports = sorted(sweep.glob("*/report.html"))
    assert len(reports) == 4
    sections = {"report.html": 11, "comparison.html": 8, "advice.html": 7}
    for path in [*reports, sweep / "comparison.html", sweep / "advice" / "advice.html"]:
        page, told = look(browser, path, width, scheme)
        assert told == [], path
        assert hidden(page) == [], path
        assert page.locator("section").count() == sections[path.name]
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, f"{path} is {wider} pixels too wide"
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, dark[4:-1].split(","))) < 128) == (scheme == "dark")
        page.context.close()


def test_a_picture_shows_the_surgery_of_its_case(sweep: Path, browser: Any) -> None:
    for path in sorted(sweep.glob("*/report.html")):
        case = path.parent.name.partition("_")[2]
        page, _ = look(browser, path, 1280, "light")
        kept = page.locator(f"svg.surgery g.{LOOKS[case]}").count()
        assert kept == (3 if case == "small_different" else 5)
        assert page.locator("svg.surgery g.new").count() == 1
        assert page.locator("svg.surgery g.cut").count() == (3 if case == "small_different" else 1)
        overflow = page.evaluate("""() => [...document.querySelectorAll('svg.surgery text')].filter(text => {
            const all = text.ownerSVGElement.getBoundingClientRect(), box = text.getBoundingClientRect();
            return box.left < all.left - 1 || box.right > all.right + 1 }).map(text => text.textContent)""")
        assert overflow == []
        page.context.close()


def test_the_checks_see_what_they_look_for(tmp_path: Path, browser: Any) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<header id=a>x</header><section id=b style='width:3000px;height:50px;visibility:hidden'>y</section>"
        "<img src='http://127.0.0.1:9/x.png'><script>console.log('hello'); nothing()</script>"
    )
    page, told = look(browser, bad, 390, "light")
    assert hidden(page) == ["a", "b"]
    assert any("127.0.0.1" in one for one in told)
    assert "hello" in told
    assert any("nothing" in one for one in told)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0
    page.context.close()
