"""R1 with worker processes: what they have read ahead when a run is interrupted is neither lost nor seen twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Scorecard
from tests.interrupting import Command
from tests.reliability.test_resume_everywhere import interrupt_everywhere, places, steps
from tests.training.test_phases import POLICIES


@pytest.mark.reliability
@pytest.mark.parametrize("policy", POLICIES)
def test_resume_is_exact_from_every_step_with_workers(
    tlx: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorecard: Scorecard, policy: str
) -> None:
    where = steps(policy)
    found = interrupt_everywhere(tlx, tmp_path, monkeypatch, policy, 2, where)
    scorecard("R1", {"runs interrupted and resumed": len(where), "different": len(places(found))})
    assert found == []
