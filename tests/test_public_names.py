"""The names that ``import tlx`` offers: a person's programs stand on them, and importing them costs nothing."""

from __future__ import annotations

import subprocess
import sys

NAMES = ["__version__", "advise", "load", "train"]
PROBE = "import sys, tlx; print(sorted(tlx.__all__), dir(tlx), 'torch' in sys.modules, 'hydra' in sys.modules)"


def test_the_names_of_tlx() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout == f"{NAMES} {NAMES} False False\n"
