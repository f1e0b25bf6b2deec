"""The command line as a person meets it."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tlx as package
from tests.conftest import TINY, runs_of
from tlx.__main__ import conf_folder
from tlx.door.arguments import VERBS, prepare, split_verb
from tlx.guide import GUIDE
from tlx.storage import read_json, write_tensors

CASES = ("small_similar", "small_different", "large_similar", "large_different")


def test_alone_it_prints_the_guide(tlx: Callable) -> None:
    assert tlx() == (0, GUIDE, "")


def test_the_guide_shows_every_case_on_one_screen() -> None:
    lines = GUIDE.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100
    for case in CASES:
        assert f"case={case}" in GUIDE
        assert (conf_folder() / "case" / f"{case}.yaml").is_file()
    assert {p.stem for p in (conf_folder() / "case").glob("*.yaml")} == {*CASES, "auto"}


def commands(guide: str) -> list[str]:
    found = [part.strip() for line in guide.splitlines() for part in line.split("  ")]
    return [part for part in found if part.startswith("python -m tlx")]


def test_every_command_of_the_guide_is_one(tlx: Callable) -> None:
    assert len(commands(GUIDE)) >= 6
    for command in commands(GUIDE):
        words = shlex.split(command)[3:]
        verb, rest = split_verb(words)
        prepare(verb, rest)
        shown = tlx(verb, *[word for word in rest if word not in ("-m", "--help") and "," not in word], "--cfg", "job")
        assert shown.code == 0, command


def test_version(tlx: Callable) -> None:
    assert tlx("--version") == (0, f"tlx {package.__version__}\n", "")
    assert tlx("train", "--version") == (0, f"tlx {package.__version__}\n", "")


@pytest.mark.parametrize("verb", [None, "inspect", "resume"])
def test_help(tlx: Callable, verb: str | None) -> None:
    answer = tlx(*([verb] if verb else []), "--help")
    assert (answer.code, answer.err) == (0, "")
    for word in ("Usage: python -m tlx", "case: auto, large_different", "optimizer: adamw", ", ".join(VERBS[1:])):
        assert word in answer.out


def test_config_and_defaults_tree(tlx: Callable) -> None:
    answer = tlx("case=small_different", "--cfg", "job", "optimizer.lr=0.5")
    assert (answer.code, answer.err) == (0, "")
    assert "kind: patches" in answer.out
    assert "lr: 0.5" in answer.out
    assert tlx("--cfg", "job").code == 0  # without a case, too


def test_defaults_tree(tmp_path: Path) -> None:
    """In a process of its own: Hydra's --info leaves its logging behind."""
    words = ["-m", "tlx", "--info", "defaults-tree", "case=small_different"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cut: early" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_verb_is_picked(tlx: Callable, verb: str) -> None:
    given = {
        "resume": ["run=x"],
        "evaluate": ["run=x"],
        "pretrain": ["output=x"],
        "predict": ["run=x", "images=z"],
        "export": ["run=x", "format=onnx"],
        "report": ["runs=x"],
    }.get(verb, [])
    answer = tlx(verb, *given, "--cfg", "job")
    assert answer.code == 0
    own = {
        "resume": "max_epochs: null",
        "evaluate": "split: test",
        "pretrain": "output: x",
        "predict": "images: z",
        "export": "format: onnx",
        "report": "runs:",
    }.get(verb, "seed: 0")
    assert own in answer.out


# --- what starts fast ------------------------------------------------------------------------------------------------

HEAVY = ("torch", "torchvision", "timm", "pytorch_lightning", "lightning_fabric", "torchmetrics", "numpy", "sklearn")
PROBE = f"""
import sys
sys.argv = ["tlx", *sys.argv[1:]]
from tlx.__main__ import main
try:
    main()
finally:
    print("HEAVY", *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def loaded(*words: str, before: str = "", cwd: Path) -> list[str]:
    """Run the command line in a new process and list the heavy libraries that it has imported."""
    done = subprocess.run([sys.executable, "-c", before + PROBE, *words], capture_output=True, text=True, cwd=cwd)
    return done.stderr.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["--cfg", "job"], ["case=small_similar", "optimizer.lr=abc"], ["case=bogus"]]
)
def test_what_needs_no_network_imports_no_torch(tmp_path: Path, words: list[str]) -> None:
    assert loaded(*words, cwd=tmp_path) == []


def test_the_check_of_the_imports_can_fail(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    assert loaded(before="import sys; sys.path.insert(0, '.'); import torch\n", cwd=tmp_path) == ["torch"]


EMPTY = "import hydra\n@hydra.main(version_base='1.3', config_path=None)\ndef main(config):\n    pass\nmain()\n"


def ratio(words: list[str], folder: Path, pairs: int) -> float:
    """Median time of a command line over the median time of an empty Hydra application, measured alternately."""
    (folder / "empty.py").write_text(EMPTY)
    times: dict[str, list[float]] = {"empty": [], "tlx": []}
    for _ in range(pairs):
        for name, start in (("empty", ["empty.py"]), ("tlx", ["-m", "tlx"])):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *start, *words], cwd=folder, check=True, capture_output=True)
            times[name].append(time.perf_counter() - begun)
    return statistics.median(times["tlx"]) / statistics.median(times["empty"])


@pytest.mark.benchmark
@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_start_costs_at_most_twice_an_empty_application(tmp_path: Path, words: list[str]) -> None:
    measured = ratio(words, tmp_path, 11)
    print(f"{' '.join(words)}: {measured:.2f} times an empty Hydra application")
    assert measured <= 2


def test_start_is_not_slow(tmp_path: Path) -> None:
    """Torch at import would make it ten times as much; a busy machine does not."""
    assert ratio(["--cfg", "job"], tmp_path, 2) <= 4


# --- completion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tlx case=", {f"case={case}" for case in CASES}),
        ("tlx inspect cut=", {"cut=early", "cut=head", "cut=layer", "cut=stage"}),
        ("tlx ins", {"inspect"}),
        ("tlx optimizer.", {"optimizer.lr=", "optimizer.weight_decay="}),
        ("tlx train case=small", {"case=small_similar", "case=small_different"}),
        ("tlx -m case=large", {"case=large_similar", "case=large_different"}),
        ("tlx case=small_similar optimizer=", {"optimizer=sgd", "optimizer=finetune"}),
        ("tlx resume ru", {"run="}),
        ("tlx evaluate spl", {"split="}),
        ("tlx ", {"inspect", "resume", "case=", "optimizer="}),
    ],
)
def test_completion(tlx: Callable, monkeypatch: pytest.MonkeyPatch, line: str, offered: set[str]) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    answer = tlx("-sc", "query=bash")
    assert (answer.code, answer.err) == (0, "")
    assert offered <= set(answer.out.split())
    if "=" in line.rsplit(" ", 1)[-1]:
        assert {word.partition("=")[0] for word in answer.out.split()} == {line.rsplit(" ", 1)[-1].partition("=")[0]}


# --- whole runs ------------------------------------------------------------------------------------------------------

HOSTILE = ["a~b=c,d", "a(b[c#d'e\"f", " é&ß日 {b}:c ", "$a;b\\'"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_folder_of_any_name_arrives(tlx: Callable, tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    answer = tlx("inspect", "case=small_similar", *TINY, "data=folder", f"data.root={root}")
    assert answer.code == 2
    assert f"tlx: error: {root} has no class folders" in answer.err
    answer = tlx("resume", f"run={root}")
    assert answer.code == 2
    assert f"run={root} holds no run" in answer.err


def test_a_relative_folder_and_home(tlx: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in ("1e3", "~/my photos"):
        folder = tmp_path / root.removeprefix("~/")
        folder.mkdir()
        answer = tlx("inspect", "case=small_similar", *TINY, "data=folder", f"data.root={root}")
        assert f"{folder} has no class folders" in answer.err


ODD = "é~ =,([#'\"]) {x}: a&b"


def test_a_run_among_odd_names(tlx: Callable, tmp_path: Path, photos: Path) -> None:
    """Train from a folder, with a file of weights, into a folder, and evaluate and resume it: all oddly named."""
    import timm

    root, weights, run = tmp_path / f"1{ODD}", tmp_path / f"2{ODD}.safetensors", tmp_path / f"3{ODD}"
    photos.rename(root)
    model = timm.create_model("test_resnet")
    write_tensors(weights, model.state_dict())
    words = [word for word in TINY if not word.startswith("init=")]
    words += ["data=folder", f"data.root={root}", "init=pretrained", f"init.file={weights}", f"hydra.run.dir={run}"]
    answer = tlx("case=small_similar", *words)
    assert (answer.code, answer.err) == (0, "")
    assert f"weights from {weights.name}" in answer.out
    result = read_json(run / "result.json")
    assert (result["case"], result["run_dir"]) == ("small_similar", str(run))
    assert result["config"]["data"]["root"] == str(root)
    assert tlx("evaluate", f"run={run}", "trainer=cpu").code == 0
    answer = tlx("resume", f"run={run}")
    assert (answer.code, "nothing is left to do" in answer.out) == (0, True)
    assert shlex.split(result["command"]) == ["python", "-m", "tlx", "case=small_similar", *words]


def test_none_over_a_case_trains_everything(tlx: Callable, tmp_path: Path, photos: Path) -> None:
    words = (*TINY, "data=folder", f"data.root={photos}", "trainer.max_epochs=1", "callbacks.progress=false")
    assert tlx("case=small_similar", "freeze=none", *words).code == 0
    (run,) = runs_of(tmp_path)
    result = read_json(run / "result.json")
    assert result["freeze"] == "none"
    assert result["parameters"]["frozen"] == 0
    assert result["config"]["freeze"]["kind"] == "none"


def test_a_sweep_with_a_bad_file_finishes_the_others(tlx: Callable, tmp_path: Path) -> None:
    import timm

    good, bad = tmp_path / "good one.safetensors", tmp_path / "bad.safetensors"
    write_tensors(good, timm.create_model("test_resnet").state_dict())
    bad.write_bytes(b"no weights")
    words = [word for word in TINY if not word.startswith("init=")]
    answer = tlx("-m", "case=small_similar", *words, "init=pretrained", f"init.file={good},{bad},{good}")
    assert answer.code == 2
    table = next((tmp_path / "outputs").rglob("comparison.csv")).read_text().splitlines()
    assert [line.split(",")[1] for line in table[1:]] == ["done", "failed", "done"]
    assert "1_small_similar (exit code 2): " in answer.out
    assert f"{bad} is truncated or no safetensors file" in answer.out


def test_the_module_and_the_process(tmp_path: Path) -> None:
    """Once as a real process: the exit code arrives, and a mistake is told on standard error alone."""
    done = subprocess.run([sys.executable, "-m", "tlx", "case=bogus"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("tlx: error: unknown option case=bogus; one of: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "given", "found"),
    [
        ("GOMP_SPINCOUNT", {}, "2000"),
        ("GOMP_SPINCOUNT", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("GOMP_SPINCOUNT", {"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
        ("MKL_CBWR", {}, "AUTO,STRICT"),
        ("MKL_CBWR", {"MKL_CBWR": "COMPATIBLE"}, "COMPATIBLE"),
    ],
)
def test_libraries_are_set_before_torch_is_imported_unless_somebody_has(
    name: str, given: dict[str, str], found: str
) -> None:
    """Threads that wait soon sleep; products are the same wherever memory lies. Both are read at the import."""
    code = (
        "import os, sys; sys.argv = ['tlx', '--version']\n"
        "from tlx.__main__ import main\n"
        "try: main()\n"
        f"finally: print(os.environ.get('{name}'), 'torch' in sys.modules)"
    )
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_CBWR")
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert told.stdout.splitlines()[-1] == f"{found} False"


@pytest.mark.parametrize("words", [["predict", "--help"], ["case=small_similar", "--cfg", "job"], []])
def test_who_has_read_enough_hears_no_complaint(tmp_path: Path, words: list[str]) -> None:
    """A reader such as ``head`` closes the pipe while more is said."""
    command = [sys.executable, "-m", "tlx", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as run:
        assert run.stdout is not None
        run.stdout.close()
        assert run.stderr is not None
        assert run.stderr.read() == ""
    assert run.returncode == 0
