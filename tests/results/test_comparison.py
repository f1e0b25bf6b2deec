"""A sweep's comparison: every job has its row, whatever became of it, and names are only names."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tlx.results.comparison import COLUMNS, collect, differences, show
from tlx.results.run_folder import RunFolder


def result(**changes: Any) -> dict[str, Any]:
    scores = {"accuracy": 0.9, "balanced_accuracy": 0.88, "macro_f1": 0.87, "loss": 0.3}
    return {
        "case": "small_similar",
        "backbone": "resnet18",
        "init": "pretrained",
        "cut": "head",
        "freeze": "trunk",
        "data": "bees",
        "seed": 0,
        "images": {"train": 100},
        "metrics": {"val": {"accuracy": 0.91}, "test": {**scores, **changes.pop("test", {})}},
        "parameters": {"kept": 11_176_512, "trained": 1026},
        "seconds": {"total": 12.3456},
        **changes,
    }


def done(path: Path, **changes: Any) -> Path:
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps(result(**changes)))
    return path


def sweep(folder: Path) -> list[tuple[Path, list[str]]]:
    failed, lost = folder / "1_failed", folder / "2_lost"
    failed.mkdir(parents=True)
    RunFolder(failed).fail("out of memory; lower data.batch_size", 3)
    return [(done(folder / "0_done"), ["seed=0"]), (failed, ["seed=1"]), (lost, ["seed=2"])]


def printed(folder: Path, rows: list[dict[str, Any]], width: int = 200) -> str:
    text = io.StringIO()
    show(Console(file=text, width=width, highlight=False), folder, rows)
    return text.getvalue()


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text("utf-8"))))


def test_every_job_has_a_row_in_order(tmp_path: Path) -> None:
    rows = collect(tmp_path, sweep(tmp_path))
    assert [(r["run"], r["status"], r["exit_code"], r["overrides"]) for r in rows] == [
        ("0_done", "done", 0, "seed=0"),
        ("1_failed", "failed", 3, "seed=1"),
        ("2_lost", "failed", 1, "seed=2"),
    ]
    assert rows[1]["reason"] == "out of memory; lower data.batch_size"
    assert rows[2]["reason"] == "never started"
    written = table(tmp_path)
    assert list(written[0]) == list(COLUMNS)
    assert [row["run"] for row in written] == ["0_done", "1_failed", "2_lost"]
    assert written[0]["test_accuracy"] == "0.9"
    assert written[0]["seconds"] == "12.35"
    assert written[1]["test_accuracy"] == ""


def test_failures_are_printed_with_their_reasons(tmp_path: Path) -> None:
    text = printed(tmp_path, collect(tmp_path, sweep(tmp_path)))
    assert "1_failed (exit code 3): out of memory; lower data.batch_size" in text
    assert "2_lost (exit code 1): never started" in text
    assert "0.9000" in text
    assert "comparison.csv" in text


def test_a_sweep_in_which_all_failed_is_printed(tmp_path: Path) -> None:
    rows = collect(tmp_path, sweep(tmp_path)[1:])
    text = printed(tmp_path, rows)
    assert "test accuracy" not in text
    assert text.count("failed") >= 2


def test_a_damaged_result_is_a_failed_row_not_the_end(tmp_path: Path) -> None:
    jobs = sweep(tmp_path)
    for name, content in (("3_torn", "{"), ("4_old", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(content)
        jobs.append((tmp_path / name, []))
    rows = collect(tmp_path, jobs)
    assert [row["status"] for row in rows] == ["done", "failed", "failed", "failed", "failed"]
    assert "result.json" in rows[3]["reason"]
    assert "result.json" in rows[4]["reason"]


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[link=x]", ":cat:", "a[1]"])
def test_names_are_printed_as_they_are(name: str, tmp_path: Path) -> None:
    rows = [
        {**collect(tmp_path, [(done(tmp_path / "run"), [])])[0], "run": name, "data": name},
        {"run": name, "status": "failed", "exit_code": 2, "reason": f"no {name}", "overrides": ""},
    ]
    text = io.StringIO()
    show(Console(file=text, width=240, highlight=False, emoji=False), tmp_path / name, rows)
    assert text.getvalue().count(name) == 4  # once in the table, twice in the failure, once in the path


def test_accuracies_on_different_data_are_not_compared(tmp_path: Path) -> None:
    jobs = [(done(tmp_path / "0"), []), (done(tmp_path / "1", data="ants"), [])]
    assert "different data" in printed(tmp_path, collect(tmp_path, jobs))
    same = [(done(tmp_path / "2"), []), (done(tmp_path / "3", test={"accuracy": 0.95}), [])]
    assert "different data" not in printed(tmp_path, collect(tmp_path, same))


def test_the_table_shows_what_was_swept_and_nothing_that_is_equal(tmp_path: Path) -> None:
    words = [["case=x", f"cut.name=layer{k}", f"+init.file=/data/{k}.pt", f"freeze.train=[a b, {k}]"] for k in range(2)]
    rows = collect(tmp_path, [(done(tmp_path / str(k)), words[k]) for k in range(2)])
    assert rows[1]["overrides"] == " ".join(words[1])
    header, *lines = printed(tmp_path, rows).strip().splitlines()
    assert header.split()[:4] == ["run", "name", "file", "train"]
    assert not {"data", "init", "cut", "freeze", "case"} & set(header.split())
    for k in range(2):
        assert lines[k].split()[:3] == [str(k), f"layer{k}", f"{k}.pt"]
        assert f"[a b, {k}]" in lines[k]
    assert list(table(tmp_path)[0]) == list(COLUMNS)


def test_names_and_values_that_would_look_alike_stay_whole(tmp_path: Path) -> None:
    words = [[f"freeze.probe.lr={k}", f"freeze.finetune.lr={k}", f"init.run=/r{k}/x"] for k in range(2)]
    rows = collect(tmp_path, [(done(tmp_path / str(k)), words[k]) for k in range(2)])
    assert differences(rows) == {
        "freeze.probe.lr": ["0", "1"], "freeze.finetune.lr": ["0", "1"], "init.run": ["/r0/x", "/r1/x"],
    }  # fmt: skip


def test_what_a_swept_case_chose_is_shown_where_it_differs(tmp_path: Path) -> None:
    changes = [{"freeze": "trunk", "cut": "head"}, {"freeze": "none", "cut": "head"}]
    rows = collect(tmp_path, [(done(tmp_path / str(k), **changes[k]), [f"case={k}"]) for k in range(2)])
    assert differences(rows) == {"case": ["0", "1"], "freeze": ["trunk", "none"]}
