"""A sweep goes on when a job fails, compares what there is, and ends with its worst job's code."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tests.interrupting import Command
from tlx.door import sweep
from tlx.errors import InputError, Interrupted, MachineError, NumericalError
from tlx.results.run_folder import RunFolder


def comparison(folder: Path) -> list[dict[str, str]]:
    (file,) = folder.rglob("comparison.csv")
    return list(csv.DictReader(file.read_text().splitlines()))


def at_seed(failures: dict[int, BaseException]) -> Callable[[Any, Any], None]:
    def job(config: Any, folder: Any) -> None:
        if config.seed in failures:
            raise failures[config.seed]

    return job


def test_two_jobs_of_one_case_have_their_own_folders(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    calls = training(at_seed({}))
    assert tlx("-m", "case=small_similar", "seed=0,1").code == 0
    names = [call["folder"].path.name for call in calls]
    assert names == ["0_small_similar", "1_small_similar"]
    assert [row["seed"] for row in comparison(tmp_path)] == ["0", "1"]
    assert [row["overrides"] for row in comparison(tmp_path)] == [f"case=small_similar seed={k}" for k in (0, 1)]


def test_two_sweeps_in_a_second_have_their_own_folders(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    training(at_seed({}))
    for _ in range(2):
        assert tlx("-m", "case=small_similar", "seed=0,1").code == 0
    assert len(list(tmp_path.rglob("comparison.csv"))) == 2
    assert len(list(tmp_path.rglob("result.json"))) == 4


def test_more_than_ten_jobs_stand_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        write_json_of_failure(tmp_path / f"{number}_x", number)
    (tmp_path / "notes").mkdir()
    sweep.started.append(tmp_path)
    assert sweep.finish() == 2
    assert [row["run"] for row in comparison(tmp_path)] == [f"{number}_x" for number in range(12)]
    assert sweep.finish() is None


def write_json_of_failure(folder: Path, number: int) -> None:
    folder.mkdir()
    RunFolder(folder).fail(f"reason {number}", 2)


FAILURES: dict[int, tuple[BaseException, int, str]] = {
    1: (InputError("bad data", "mend it"), 2, "bad data; mend it"),
    2: (MachineError("disk full"), 3, "disk full"),
    3: (NumericalError("NaN"), 4, "NaN"),
    4: (MemoryError(), 3, "out of memory"),
    5: (ZeroDivisionError("oops"), 1, "ZeroDivisionError: oops"),
    6: (SystemExit(7), 7, "sys.exit(7)"),
    7: (SystemExit(0), 1, "sys.exit(0)"),
}


def test_a_failing_job_does_not_end_the_sweep(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    calls = training(at_seed({seed: error for seed, (error, _, _) in FAILURES.items()}))
    answer = tlx("-m", "case=small_similar", "seed=range(9)")
    assert answer.code == 1  # a bug asks for attention before anything else
    assert len(calls) == 9
    rows = comparison(tmp_path)
    assert [row["status"] for row in rows] == ["done", *["failed"] * 7, "done"]
    for seed, (_, code, reason) in FAILURES.items():
        assert reason in rows[seed]["reason"]
        assert rows[seed]["exit_code"] == str(code)
        assert f"{seed}_small_similar (exit code {code})" in answer.out
        assert reason in answer.out


def test_sys_exit_itself_does_not_end_the_sweep(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    training(lambda config, folder: sys.exit(3) if config.seed == 0 else None)
    assert tlx("-m", "case=small_similar", "seed=0,1").code == 3
    assert [row["status"] for row in comparison(tmp_path)] == ["failed", "done"]


def test_a_config_error_in_one_job_does_not_end_the_sweep(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    calls = training(at_seed({}))
    assert tlx("-m", "case=small_similar", "optimizer.lr=1,abc,${oc.env:TLX_NONE},2").code == 2
    assert len(calls) == 2
    rows = comparison(tmp_path)
    assert [row["status"] for row in rows] == ["done", "failed", "failed", "done"]
    assert "optimizer.lr='abc' has the wrong type" in rows[1]["reason"]
    assert "TLX_NONE" in rows[2]["reason"]


def test_the_worst_code_wins(tlx: Callable, training: Callable) -> None:
    training(at_seed({0: InputError("x"), 1: NumericalError("y"), 2: MachineError("z")}))
    assert tlx("-m", "case=small_similar", "seed=0,1,2").code == 4
    assert sweep.worst([0, 2, 4]) == 4
    assert sweep.worst([4, 1]) == 1
    assert sweep.worst([]) == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (Interrupted("SIGINT", "resume"), 130), (Interrupted("SIGTERM", "resume"), 143)],
    ids=["ctrl-c", "SIGINT", "SIGTERM"],
)
def test_a_signal_ends_the_sweep(
    tlx: Callable, training: Callable, tmp_path: Path, error: BaseException, code: int
) -> None:
    calls = training(at_seed({1: error}))
    answer = tlx("-m", "case=small_similar", "seed=0,1,2,3")
    assert answer.code == code
    assert len(calls) == 2
    assert [row["status"] for row in comparison(tmp_path)] == ["done", "failed"]
    assert "tlx: interrupted" in answer.err


def test_a_sweep_of_another_verb_ends_with_its_worst_code(tlx: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []

    def inspect(config: Any) -> None:
        codes.append(config.seed)
        if config.seed == 0:
            raise ZeroDivisionError
        if config.seed == 1:
            raise InputError("what")

    monkeypatch.setattr("tlx.verbs.inspect.inspect", inspect)
    assert tlx("inspect", "-m", "case=small_similar", "seed=0,1,2").code == 1
    assert codes == [0, 1, 2]


def test_nothing_is_left_for_the_next_command(tlx: Callable, training: Callable) -> None:
    training(at_seed({0: NumericalError("y")}))
    assert tlx("-m", "case=small_similar", "seed=0,1").code == 4
    assert sweep.started == []
    assert tlx("case=small_similar", "seed=1").code == 0


def test_a_swept_groups_own_keys_reach_the_jobs(tlx: Command, tmp_path: Path) -> None:
    """Hydra alone would apply them to the group's default option, and find no such key."""
    words = ("-m", "case=small_similar", *TINY, "callbacks.progress=false")
    sweep = ("freeze=lp_ft,surgical", "freeze.finetune.epochs=1", "freeze.finetune.lr=5e-5", "data.per_class=4")
    answer = tlx(*words, *sweep, "hydra.sweep.dir=sweep")
    assert answer.code == 0, answer.err
    for job in ("0_small_similar", "1_small_similar"):
        config = json.loads((tmp_path / "sweep" / job / "result.json").read_text())["config"]
        assert config["freeze"]["finetune"]["lr"] == 5e-5
