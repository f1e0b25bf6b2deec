"""Kill copies of a program at random moments and look at what is left: ``python -m tests.reliability.killing``.

Words: WORK FOLDER KILLS SEED, WORK one of train, bank, export. The program imports everything once; every copy of it
is forked from there, does its work in a folder of its own, and is killed by ``kill -9`` somewhere between its start and
the time that the whole work takes. Prints JSON: what was counted.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.interrupting import RUN
from tlx.__main__ import run
from tlx.errors import TlxError
from tlx.features.shard import DamagedError, open_shard
from tlx.learner.checkpoints import BEFORE, BEST, LAST, Checkpoints, read_position, repair
from tlx.storage import read_checkpoint, read_json, read_tensors

STEPS = 4  # an epoch's
PROFILE_OFF = "features.profile_up_to=0"
FROZEN = (*(word for word in RUN if not word.startswith("case=")), "case=small_similar", "augment=none", PROFILE_OFF)
EVERY = 10  # of so many killed trainings one goes on to its end

Work = Callable[[Path, int], None]


def copied(work: Callable[[], None]) -> int:
    """Fork a copy of this program that does a work and ends."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        work()
        code = 0
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a copy's end; return its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def train(folder: Path, told: int) -> None:
    """Train, and save at every step; ``told``: where to tell the last position that is saved."""
    save = Checkpoints._save

    def telling(self: Checkpoints, trainer: object) -> None:
        save(self, trainer)  # type: ignore[arg-type]
        os.write(told, b".")

    Checkpoints._save = telling  # type: ignore[method-assign]
    assert run([*RUN, "callbacks.checkpoint.every_steps=1", "report=false", f"hydra.run.dir={folder}"]) == 0


def bank(folder: Path, told: int) -> None:
    """Compute the features of a frozen trunk into a bank of its own."""
    assert run([*FROZEN, "report=false", f"features.dir={folder / 'bank'}", f"hydra.run.dir={folder / 'run'}"]) == 0


def export(folder: Path, told: int) -> None:
    """Export a run twice to the same place."""
    words = ["export", f"run={folder.parent / 'whole'}", "format=safetensors", f"output={folder / 'out'}"]
    assert run(words) == 0
    os.write(told, b".")
    assert run(words) == 0


def after_train(folder: Path, saves: int) -> Counter[str]:
    """Read every file of a killed training; ``saves`` were told before its end."""
    found: Counter[str] = Counter()
    phase = folder / "checkpoints" / "train"
    for file in (phase / LAST, phase / BEFORE, phase / BEST):
        found["unloadable"] += file.is_file() and not readable(file)
    found["unloadable"] += sum(not readable(file) for file in folder.glob("*.json"))
    if saves:
        repair(phase)
        epoch, batches = read_position(phase)
        # At an epoch's end the state is saved once, behind its last batch.
        found["more than one interval lost"] += epoch * STEPS + batches < saves
    return found


def after_bank(folder: Path, saves: int) -> Counter[str]:
    """Read every shard of a bank."""
    torn = 0
    for file in (folder / "bank").rglob("*.safetensors"):
        try:
            open_shard(file).prove()
        except DamagedError:
            torn += 1
    return Counter({"unloadable": torn})


def after_export(folder: Path, saves: int) -> Counter[str]:
    """Read an export; once there was one, there is one, in its place or, for a moment, beside it."""
    places = [place for place in (folder / "out", *folder.glob(".out.*.old")) if place.is_dir()]
    whole = [place for place in places if all(readable(file) for file in place.glob("*.[js]*"))]
    torn = (folder / "out").is_dir() and folder / "out" not in whole
    return Counter({"unloadable": int(torn or (saves > 0 and not whole))})


def readable(file: Path) -> bool:
    """Whether a file is whole."""
    try:
        if file.suffix == ".ckpt":
            read_checkpoint(file)
        elif file.suffix == ".safetensors":
            read_tensors(file)
        else:
            read_json(file)
    except TlxError:
        return False
    return True


def go_on(folder: Path, whole: Path) -> Counter[str]:
    """Resume a killed training; it ends where the whole one did."""
    if not (folder / "config.json").is_file():
        return Counter()
    code = ended(copied(lambda: resume(folder)))
    same = code == 0 and model(folder) == model(whole)
    return Counter({"resumed to the end": 1, "different": int(not same)})


def resume(folder: Path) -> None:
    """Go on with a run."""
    assert run(["resume", f"run={folder}"]) == 0


def model(folder: Path) -> str:
    """Return the fingerprint of a run's model."""
    return str(read_json(folder / "result.json")["fingerprints"]["model"])


WORKS = {"train": (train, after_train), "bank": (bank, after_bank), "export": (export, after_export)}


def main(name: str, root: Path, kills: int, seed: int) -> Counter[str]:
    """Kill so many copies; return what was counted."""
    work, look = WORKS[name]
    whole, rng, found = root / "whole", random.Random(seed), Counter[str]()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    assert ended(copied(lambda: train(whole, nowhere))) == 0
    shutil.rmtree(root / "first", ignore_errors=True)
    (root / "first").mkdir()
    started = time.monotonic()
    assert ended(copied(lambda: work(root / "first", nowhere))) == 0
    lasts = time.monotonic() - started
    for number in range(kills):
        folder = root / f"{name}{number}"
        if name != "train":
            folder.mkdir()
        read, write = os.pipe()
        pid = copied(lambda folder=folder, write=write: work(folder, write))  # type: ignore[misc]
        os.close(write)
        time.sleep(rng.uniform(0.1, 1.0) * lasts)
        os.kill(pid, signal.SIGKILL)
        found["kills"] += 1
        in_time = ended(pid) == -signal.SIGKILL
        found["in time"] += in_time
        if not in_time:  # the machine has become faster since
            lasts *= 0.8
        with os.fdopen(read, "rb") as pipe:
            saves = len(pipe.read())
        found += look(folder, saves) if folder.is_dir() else Counter()
        if name == "train" and number % EVERY == 0:
            found += go_on(folder, whole)
        shutil.rmtree(folder, ignore_errors=True)
    return found


if __name__ == "__main__":
    name, root, kills, seed = sys.argv[1:]
    sys.argv = ["tlx"]
    sys.stdout.write(json.dumps(main(name, Path(root), int(kills), int(seed))) + "\n")
