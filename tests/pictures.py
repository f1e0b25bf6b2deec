"""Make the README's pictures anew, from real runs: ``python -m tests.pictures`` (needs Chromium for the screenshot).

``docs/cases.svg`` shows the surgery of the four cases side by side, ``docs/report.png`` the report of the first.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tlx.results.page.drawing import draw
from tlx.results.run_folder import RunFolder
from tlx.storage import read_json

DOCS = Path(__file__).parent.parent / "docs"
CASES = {
    "small_similar": "small, similar",
    "small_different": "small, different",
    "large_similar": "large, similar",
    "large_different": "large, different",
}
WIDTH, GAP, TITLE = 440, 24, 46
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")


def side_by_side(folders: list[RunFolder]) -> str:
    """Draw the surgery of every run, with its case above it."""
    parts, heights = [], []
    for index, (folder, (case, title)) in enumerate(zip(folders, CASES.items(), strict=True)):
        svg = draw(read_json(folder.surgery), read_json(folder.result)["classes"], case)
        height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1])  # type: ignore[index]
        x = index * (WIDTH + GAP)
        heading = f'<text class="case" x="{x + 140}" y="24" text-anchor="middle">{title}</text>'
        name = f'<text class="name" x="{x + 140}" y="40" text-anchor="middle">case={case}</text>'
        placed = svg.replace("<svg ", f'<svg x="{x}" y="{TITLE + 6}" width="{WIDTH}" height="{height}" ', 1)
        parts += [heading, name, placed]
        heights.append(height)
    style = (
        'text.case { font: 650 17px system-ui, "Segoe UI", Roboto, Arial, sans-serif; fill: #1b1f24; } '
        "text.name { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #5f6773; } "
        "@media (prefers-color-scheme: dark) { text.case { fill: #eceff3; } text.name { fill: #a3adba; } }"
    )
    size = (len(folders) * (WIDTH + GAP) - GAP, max(heights) + TITLE + 10)
    box = f'viewBox="0 0 {size[0]} {size[1]:.0f}" width="{size[0]}" height="{size[1]:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}><style>{style}</style>{"".join(parts)}</svg>\n'


def photograph(page: Path, picture: Path, width: int, height: int) -> None:
    """Take a screenshot of a page's upper part."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as profile:
        shot = [f"--user-data-dir={profile}", f"--window-size={width},{height}", f"--screenshot={picture}"]
        subprocess.run([browser, *QUIET, *shot, page.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Run the four cases, and make the pictures of what they leave."""
    with tempfile.TemporaryDirectory() as place:
        words = ["-m", f"case={','.join(CASES)}", f"hydra.sweep.dir={place}"]
        subprocess.run([sys.executable, "-m", "tlx", *words], check=True)
        folders = [RunFolder(Path(place) / f"{index}_{case}") for index, case in enumerate(CASES)]
        (DOCS / "cases.svg").write_text(side_by_side(folders), "utf-8")
        photograph(folders[0].report, DOCS / "report.png", 1180, 1000)


if __name__ == "__main__":
    main()
