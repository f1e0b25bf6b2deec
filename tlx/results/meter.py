"""Meter: memory and energy that a run takes, as far as the machine tells."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

RAPL = Path("/sys/class/powercap")


class Meter:
    """Reads the counters of energy at its start; what a run took is what they have counted since."""

    def __init__(self, counters: Path = RAPL) -> None:
        self.counters = counters
        self._before = self._energy()

    def read(self) -> dict[str, Any]:
        """Return the largest memory of this process so far and of its GPU, in bytes, and joules of the processors.

        None stands for what the machine does not tell.
        """
        after = self._energy()
        spent = {zone: (count - self._before[zone]) for zone, count in after.items() if zone in self._before}
        known = [count for count in spent.values() if count >= 0]  # counters start again from 0 some time
        return {
            "peak_memory": peak_memory(),
            "peak_gpu_memory": _gpu_memory(),
            "energy": sum(known) / 1e6 if known and len(known) == len(spent) else None,
        }

    def _energy(self) -> dict[str, int]:
        """Read the counters of whole processors, in microjoules."""
        found = {}
        for zone in self.counters.glob("intel-rapl:?") if self.counters.is_dir() else ():
            try:
                found[zone.name] = int((zone / "energy_uj").read_text())
            except (OSError, ValueError):  # often for the administrator's eyes only
                continue
        return found


def peak_memory() -> int | None:
    """Return the most memory that this process has held, in bytes."""
    try:
        import resource
    except ImportError:  # no Unix
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) if sys.platform == "darwin" else int(most) * 1024


def _gpu_memory() -> int | None:
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None
