"""The log: everything said lands in the file, nothing on the terminal, and afterwards all is as before."""

from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path

import pytest

from tlx.results.log import CHATTY, logged


def test_warnings_and_records_land_in_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tlx.log"
    # pytest keeps records too, and cannot send one between its processes that is no valid text.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with logged(path):
            warnings.warn("something is odd", UserWarning, stacklevel=1)
            logging.getLogger("tlx").info("ünïcode, and a name that is no text: \udcff")
            for name in CHATTY:
                logging.getLogger(name).warning("said by %s", name)
            logging.getLogger("anyone").debug("too quiet to hear")
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            warnings.warn("as before", UserWarning, stacklevel=1)
    text = path.read_text("utf-8")
    assert "WARNING py.warnings:" in text
    assert "UserWarning: something is odd" in text
    assert "ünïcode, and a name that is no text: \\udcff" in text
    assert all(f"WARNING {name}: said by {name}" in text for name in CHATTY)
    assert "too quiet" not in text
    assert "INFO tlx: command: " in text.splitlines()[0]
    out, err = capfd.readouterr()
    assert "odd" not in out + err
    assert "said by" not in out + err


def test_afterwards_all_is_as_before(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = list(root.handlers), root.level, warnings.showwarning
    with pytest.raises(RuntimeError), logged(tmp_path / "tlx.log"):
        raise RuntimeError
    assert (list(root.handlers), root.level, warnings.showwarning) == before
    logging.getLogger("tlx").error("later")
    assert "later" not in (tmp_path / "tlx.log").read_text()


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with logged(None):
        logging.getLogger("tlx").info("into the void")
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_adds_to_the_log(tmp_path: Path) -> None:
    for _ in range(2):
        with logged(tmp_path / "tlx.log"):
            pass
    assert (tmp_path / "tlx.log").read_text().count("command: ") == 2


def test_adverts_do_not_land_in_the_file(tmp_path: Path) -> None:
    import pytorch_lightning as pl

    with logged(tmp_path / "tlx.log"):
        pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    text = (tmp_path / "tlx.log").read_text()
    assert "used: False" in text  # what else it says stays
    assert "Tip" not in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_under_the_log_is_not_logged_about(capfd: pytest.CaptureFixture[str]) -> None:
    with logged(Path("/dev/full")):
        logging.getLogger("tlx").info("x" * 100_000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_logging_left_to_itself_prints_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """The control."""
    handler = logging.FileHandler("/dev/full")
    handler.handle(logging.LogRecord("x", logging.INFO, "x", 1, "y" * 100_000, None, None))
    with contextlib.suppress(OSError):
        handler.close()
    assert "Traceback" in capfd.readouterr().err
