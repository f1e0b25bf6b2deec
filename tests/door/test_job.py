"""One job: whatever happens in it becomes an exit code and a line."""

from __future__ import annotations

import errno
import gc
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hydra.errors import HydraException

from tests.conftest import TINY
from tlx.door.verdict import judge
from tlx.errors import InputError, Interrupted, MachineError, NumericalError, TlxError
from tlx.results.run_folder import RunFolder


def failing(error: BaseException) -> Callable:
    def job(config: object, folder: object) -> None:
        raise error

    return job


def lightnings_interruption() -> SystemExit:
    """What Lightning makes of a KeyboardInterrupt."""
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904
    except SystemExit as error:
        return error


KINDS: list[tuple[BaseException, int, str]] = [
    (TlxError("what", "mend"), 2, "what; mend"),
    (NumericalError("the loss is NaN", "lower optimizer.lr"), 4, "the loss is NaN; lower optimizer.lr"),
    (MachineError("cannot write x"), 3, "cannot write x"),
    (Interrupted("SIGINT", "python -m tlx resume run=x"), 130, "python -m tlx resume run=x"),
    (Interrupted("SIGTERM", "python -m tlx resume run=x"), 143, "python -m tlx resume run=x"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (lightnings_interruption(), 130, "interrupted"),
    (MemoryError(), 3, "out of memory; lower data.batch_size"),
    (RuntimeError("CUDA out of memory. Tried to allocate"), 3, "out of memory"),
    (OSError(errno.ENOSPC, "No space left on device", "/x"), 3, "No space left on device: /x"),
    (OSError(errno.EROFS, "Read-only file system", "/x"), 3, "Read-only file system"),
    (PermissionError(errno.EACCES, "Permission denied", "/x"), 3, "Permission denied"),
    (FileNotFoundError(errno.ENOENT, "No such file", "/x"), 1, "FileNotFoundError: [Errno 2] No such file"),
    (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
    (SystemExit(0), 1, "something called sys.exit(0)"),
    (SystemExit(7), 7, "something called sys.exit(7)"),
    (SystemExit("text"), 1, "something called sys.exit('text')"),
    (HydraException("odd"), 1, "HydraException: odd"),
    (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 999), 2, "File name too long: xxx"),
]


@pytest.mark.parametrize(
    ("error", "code", "said"), KINDS, ids=lambda v: repr(v)[:40] if isinstance(v, BaseException) else ""
)
def test_every_failure_has_a_code_and_a_message(error: BaseException, code: int, said: str) -> None:
    assert judge(error)[0] == code
    assert said in judge(error)[1]
    assert "\n" not in judge(error)[1]


THROUGH_THE_DOOR = [1, 4, 6, 13, 16]  # a user's error, two signals, a bug, a sys.exit


@pytest.mark.parametrize(("error", "code", "said"), [KINDS[k] for k in THROUGH_THE_DOOR], ids=THROUGH_THE_DOOR)
def test_a_failing_job_ends_with_its_code(
    tlx: Callable, training: Callable, tmp_path: Path, error: BaseException, code: int, said: str
) -> None:
    training(failing(error))
    answer = tlx("case=small_similar")
    assert answer.code == code
    last = answer.err.splitlines()[-1]
    assert said in last
    start = {1: "tlx: error: this is a bug in tlx: ", 130: "tlx: interrupted", 143: "tlx: interrupted"}
    assert last.startswith(start.get(code, "tlx: error: "))
    assert ("Traceback" in answer.err) == (code == 1)
    (failure,) = tmp_path.rglob("failure.json")
    recorded = json.loads(failure.read_text())
    assert recorded["exit_code"] == code
    assert said in recorded["reason"]


WRONG = (
    ("freeze=upto", "freeze.stage=nowhere"),
    ("data=folder", "data.root=nowhere"),
    ("cut=stage", "cut.stage=99"),
)


@pytest.mark.parametrize("words", WRONG)
def test_a_run_that_never_began_leaves_no_folder(tlx: Callable, tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = tlx("case=small_similar", *TINY, *words, "hydra.run.dir=here")
    assert answer.code == 2
    assert "folder    here" in answer.out
    assert not (tmp_path / "here").exists()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.txt").touch()
    assert tlx("case=small_similar", *TINY, *words, "hydra.run.dir=here").code == 2
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["mine.txt"]


def test_in_a_sweep_the_folder_of_a_run_that_never_began_stays(tlx: Callable, tmp_path: Path) -> None:
    assert tlx("-m", "case=small_similar", *TINY, *WRONG[2], "seed=0").code == 2
    (failure,) = tmp_path.rglob("failure.json")
    assert (failure.parent / "config.json").is_file()


def test_a_run_that_began_keeps_its_folder(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    def fail(config: object, folder: RunFolder) -> None:
        (folder.checkpoints / "train").mkdir()
        (folder.checkpoints / "train" / "last.ckpt").touch()
        folder.began = True
        raise InputError("a damaged image", "remove it")

    training(fail)
    assert tlx("case=small_similar", "hydra.run.dir=here").code == 2
    assert json.loads((tmp_path / "here" / "failure.json").read_text())["exit_code"] == 2
    again = tlx("case=small_similar", "hydra.run.dir=here")
    assert "already holds a run" in again.err
    assert (tmp_path / "here" / "checkpoints" / "train" / "last.ckpt").is_file()
    assert (tmp_path / "here" / "config.json").is_file()


def test_a_run_that_has_decided_something_keeps_its_folder(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    def fail(config: object, folder: RunFolder) -> None:
        folder.decisions.touch()  # cut=auto decides before the network is built
        raise InputError("too few images", "give more")

    training(fail)
    assert tlx("case=small_similar", "hydra.run.dir=here").code == 2
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {"config.json", "failure.json", "checkpoints"}


def test_a_bug_is_logged_with_its_traceback(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    training(failing(ZeroDivisionError("division by zero")))
    tlx("case=small_similar")
    (log,) = tmp_path.rglob("tlx.log")
    assert "ZeroDivisionError" in log.read_text()
    assert "Traceback" in log.read_text()


def test_a_job_that_succeeds(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    calls = training(lambda config, folder: None)
    answer = tlx("case=small_similar", "seed=3")
    assert (answer.code, answer.err) == (0, "")
    (call,) = calls
    assert call["config"].seed == 3
    assert call["config"].case == "small_similar"
    assert call["command"] == "python -m tlx case=small_similar seed=3"
    assert list(tmp_path.rglob("failure.json")) == []


def test_a_message_from_a_worker_is_cut_to_its_last_line() -> None:
    text = (
        "Caught InputError in DataLoader worker process 0.\nTraceback ...\ntlx.errors.TlxError: broken.jpg is damaged"
    )
    assert judge(TlxError(text)) == (2, "broken.jpg is damaged")


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock that names the folders."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("hydra.core.utils.datetime", Stopped)


@pytest.mark.usefixtures("one_second")
def test_run_folders_are_named_by_time_and_case_without_odd_characters(
    tlx: Callable, training: Callable, tmp_path: Path
) -> None:
    calls = training(lambda config, folder: None)
    for _ in range(6):
        assert tlx("case=small_similar", "seed=1", "trainer.max_epochs=2").code == 0
    names = [call["folder"].path.name for call in calls]
    assert len(set(names)) == 6
    assert {name[:19] for name in names} == {"2026-01-02_03-04-05"}
    for path in tmp_path.rglob("*"):
        assert not set(str(path.relative_to(tmp_path))) & set("=, ()[]'\"")


@pytest.mark.usefixtures("one_second")
def test_if_two_folders_met_the_second_run_would_be_refused(
    tlx: Callable, training: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    training(lambda config, folder: None)
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    assert tlx("case=small_similar").code == 0
    answer = tlx("case=small_similar")
    assert answer.code == 2
    assert "already holds a run" in answer.err


def test_a_folder_that_holds_a_run_is_not_taken(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    training(lambda config, folder: None)
    assert tlx("case=small_similar", "hydra.run.dir=here").code == 0
    before = {p: p.read_bytes() for p in (tmp_path / "here").glob("*.json")}
    answer = tlx("case=small_similar", "hydra.run.dir=here", "seed=5")
    assert answer.code == 2
    assert "already holds a run; resume it: python -m tlx resume run=here" in answer.err
    assert {p: p.read_bytes() for p in (tmp_path / "here").glob("*.json")} == before


@pytest.mark.parametrize("name", ["x=y, z", "é(1)'s"])
def test_the_run_folder_may_have_any_name(tlx: Callable, training: Callable, tmp_path: Path, name: str) -> None:
    training(lambda config, folder: None)
    assert tlx("case=small_similar", f"hydra.run.dir={tmp_path / name}").code == 0
    assert (tmp_path / name / "result.json").exists()


def test_what_the_environment_gives_is_not_written_down(
    tlx: Callable, training: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = training(lambda config, folder: None)
    monkeypatch.setenv("TLX_TEST_SECRET", "hush-hush")
    words = ("case=small_similar", "data=folder", "init.file=a", "hydra.run.dir=one")
    assert tlx(*words, "data.root=/mnt/${oc.env:TLX_TEST_SECRET}/x").code == 0
    assert calls[0]["config"].data.root == "/mnt/hush-hush/x"
    assert json.loads(Path("one/config.json").read_text())["data"]["root"] == "/mnt/${oc.env:TLX_TEST_SECRET}/x"

    def tells(folder: str) -> list[str]:
        return [p.name for p in Path(folder).rglob("*") if p.is_file() and "hush-hush" in p.read_text()]

    assert tells("one") == []
    assert tlx(*words[:3], "hydra.run.dir=two", "data.root=/mnt/hush-hush/x").code == 0
    assert "config.json" in tells("two")


def test_other_interpolations_are_resolved(tlx: Callable, training: Callable) -> None:
    calls = training(lambda config, folder: None)
    assert tlx("case=small_similar", "seed=${trainer.max_epochs}", "trainer.max_epochs=7", "hydra.run.dir=r").code == 0
    assert calls[0]["config"].seed == 7
    assert json.loads(Path("r/config.json").read_text())["seed"] == 7


def test_an_own_case_and_an_own_option(tlx: Callable, training: Callable, tmp_path: Path) -> None:
    conf = tmp_path / "my conf"
    for group in ("case", "optimizer"):
        (conf / group).mkdir(parents=True)
    (conf / "case" / "mine.yaml").write_text(
        "# @package _global_\n# python -m tlx --config-dir conf case=mine\ndefaults:\n  - small_different\n"
        "  - override /optimizer: slow\n  - override /cut: head\n  - _self_\n\ntrainer:\n  max_epochs: 3\n"
    )
    (conf / "optimizer" / "slow.yaml").write_text("defaults:\n  - sgd\n  - _self_\n\nlr: 1.0e-6\n")
    calls = training(lambda config, folder: None)
    assert tlx("--config-dir", str(conf), "case=mine", "seed=4").code == 0
    assert tlx("case=mine", "trainer.max_epochs=1", "--config-dir", str(conf)).code == 0
    one, two = (call["config"] for call in calls)
    assert (one.case, one.optimizer.kind, one.optimizer.lr, one.trainer.max_epochs) == ("mine", "sgd", 1e-6, 3)
    assert (one.data.kind, one.cut.kind, one.freeze.kind, one.seed) == ("patches", "head", "trunk", 4)
    assert two.trainer.max_epochs == 1


def test_new_keys_of_a_mapping_arrive(tlx: Callable, training: Callable) -> None:
    calls = training(lambda config, folder: None)
    assert tlx("case=small_similar", "backbone=timm", "backbone.name=x", "backbone.kwargs={pad_type: same}").code == 0
    assert tlx("case=small_similar", "backbone=mobilenetv1", "backbone.kwargs.drop_rate=0.1").code == 0
    assert calls[0]["config"].backbone.kwargs == {"pad_type": "same"}
    assert calls[1]["config"].backbone.kwargs == {"pad_type": "same", "bn_eps": 1e-3, "drop_rate": 0.1}


def test_garbage_is_collected_again_after_the_imports(tlx: Callable, training: Callable) -> None:
    seen: list[bool] = []
    training(lambda *_: seen.append(gc.isenabled()))
    tlx("case=small_similar")
    assert seen == [True]
    assert gc.isenabled()
