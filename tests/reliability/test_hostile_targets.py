"""R10: names of code, wherever a config takes names: none is looked up, imported or called, and all are refused."""

from __future__ import annotations

import json
import logging.config
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hydra.utils
import pytest
import yaml
from hydra._internal.instantiate import _instantiate2
from omegaconf import OmegaConf

from tests.conftest import TINY, Answer, Scorecard
from tlx.door.arguments import groups_of

CANARY = """
from pathlib import Path
here = Path(__file__).parent
(here / "imported").touch()
class Net:
    def __init__(self, *args, **kwargs):
        (here / "called").touch()
def call(*args, **kwargs):
    (here / "called").touch()
class Inner:
    call = staticmethod(call)
"""
CANARIES = ("hostile_canary.Net", "hostile_canary.call", "hostile_canary.Inner.call", "hostile_canary")
STANDARD = (
    "torch.utils.collect_env.run", "torch.hub.load", "torch.hub.download_url_to_file", "torch.load", "torch.save",
    "torch.jit.load", "torch.utils.cpp_extension.load_inline", "torch.compile", "torch.serialization.load",
    "torch.package.PackageImporter", "builtins.open", "builtins.exec", "builtins.eval", "builtins.compile",
    "builtins.__import__", "builtins.getattr", "builtins.breakpoint", "builtins.input", "socket.socket",
    "socket.create_connection", "socket.create_server", "os.system", "os.popen", "os.execv", "os.remove", "os.rename",
    "os.putenv", "os.fork", "os.kill", "os.makedirs", "posix.system", "subprocess.Popen", "subprocess.run",
    "subprocess.check_output", "subprocess.getoutput", "pty.spawn", "importlib.import_module", "importlib.reload",
    "runpy.run_path", "runpy.run_module", "pickle.loads", "pickle.load", "marshal.loads", "shelve.open",
    "shutil.rmtree", "shutil.move", "shutil.copytree", "shutil.unpack_archive", "ctypes.CDLL",
    "ctypes.cdll.LoadLibrary",
    "multiprocessing.Process", "multiprocessing.managers.BaseManager", "webbrowser.open", "http.server.HTTPServer",
    "urllib.request.urlopen", "urllib.request.urlretrieve", "functools.partial", "functools.reduce", "code.interact",
    "asyncio.run", "threading.Thread", "tempfile.mktemp", "zipfile.ZipFile", "tarfile.open", "sqlite3.connect",
    "smtplib.SMTP", "ftplib.FTP", "pdb.run", "timeit.timeit", "numpy.load", "yaml.unsafe_load",
    "hydra.utils.instantiate",
    "hydra.utils.call", "hydra.utils.get_method", "omegaconf.OmegaConf.register_new_resolver", "operator.methodcaller",
)  # fmt: skip
# That begin like what may be named, and lead on to something else.
CHAINS = (
    "logging.os.system", "logging.sys.modules", "logging.handlers.socket.socket", "logging.config.listen",
    "logging.handlers.SocketHandler", "logging.handlers.HTTPHandler", "logging.handlers.QueueHandler",
    "hydra._internal.core_plugins.basic_launcher.logging.os.system", "hydra._internal.utils._locate",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper.sweep", "tlx.door.sweep.re.sys.exit",
    "tlx.door.sweep.csv.open", "tlx.door.sweep.SweepStart.on_run_start", "tlx.door.sweep.finish",
    "tlx.storage.write_bytes", "hydra_plugins.hostile_canary.Net", "hydra_plugins",
    "torch.nn.modules.module.torch.load",
    "torch.optim.optimizer.torch.hub.load", "timm.models._hub.torch.hub.load", "optuna.samplers._base.abc.os.system",
)  # fmt: skip
TARGETS = (*CANARIES, *STANDARD, *CHAINS)
ARGUMENTS = {  # with which some of them leave a file, were they called
    "torch.utils.collect_env.run": {"command": "touch {called}"},
    "builtins.open": {"_args_": ["{called}", "w"]},
    "os.system": {"command": "touch {called}"},
    "logging.os.system": {"command": "touch {called}"},
    "subprocess.Popen": {"args": ["touch", "{called}"]},
    "os.makedirs": {"name": "{called}"},
    "pty.spawn": {"argv": ["touch", "{called}"]},
    "functools.partial": {"_args_": ["{{_target_: os.makedirs}}", "{called}"]},
}


def asked(target: str, folder: Path) -> dict[str, Any]:
    """Return what asks for a target, with arguments by which it leaves a file ``called`` in a folder."""
    text = json.dumps(ARGUMENTS.get(target, {})).replace("{called}", str(folder / "called"))
    return {"_target_": target, **json.loads(text)}


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Let the canary be importable, and every look-up of Hydra's and of logging's be noticed; return what was."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "hostile_canary.py").write_text(CANARY)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found: list[str] = []
    locate, resolve = _instantiate2._locate, logging.config.BaseConfigurator.resolve

    def located(path: str) -> Any:
        found.append(path)
        return locate(path)

    def resolved(self: Any, name: str) -> Any:
        found.append(name)
        return resolve(self, name)

    monkeypatch.setattr(_instantiate2, "_locate", located)
    monkeypatch.setattr(logging.config.BaseConfigurator, "resolve", resolved)

    def seen() -> list[str]:
        marks = [mark for mark in ("imported", "called") if (tmp_path / "lib" / mark).exists()]
        named = [name for name in found if name in TARGETS]
        for mark in marks:
            path = tmp_path / "lib" / mark
            path.rmdir() if path.is_dir() else path.unlink()
        sys.modules.pop("hostile_canary", None)
        found.clear()
        return marks + named

    return seen


@pytest.mark.parametrize("target", ["hostile_canary.Net", "torch.utils.collect_env.run", "os.makedirs"])
def test_who_instantiates_runs_it(watched: Callable[[], list[str]], tmp_path: Path, target: str) -> None:
    """The negative control: Hydra itself calls it, and it is noticed twice."""
    hydra.utils.instantiate(OmegaConf.create(asked(target, tmp_path / "lib")))
    seen = watched()
    assert "called" in seen
    assert target in seen


def test_who_configures_logging_runs_it(watched: Callable[[], list[str]]) -> None:
    """The negative control: so does Python's logging, whose configs Hydra hands on."""
    handler = {"()": "hostile_canary.call"}
    with pytest.raises(ValueError, match="Unable to configure handler"):  # for what it has made is none
        logging.config.dictConfig({"version": 1, "handlers": {"x": handler}, "disable_existing_loggers": False})
    assert set(watched()) == {"imported", "called", "hostile_canary.call"}


# --- places ----------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a name is put: ``words`` of a command line, from the target and what asks for it, in flow YAML."""

    name: str
    words: Callable[[str, str], tuple[str, ...]]
    plant: Callable[[Path, str, dict[str, Any]], None] = lambda *_: None


CASE = ("inspect", "case=small_similar", "data=digits", *TINY)
OWN_CASE = (*CASE[:1], "--config-dir", "mine", "case=own", *CASE[2:])


def lines() -> Iterator[Place]:
    """List the places on the command line."""

    def place(word: str, *more: str, base: tuple[str, ...] = CASE) -> Place:
        return Place(word, lambda name, asking: (*base, *more, word.replace("NAME", name).replace("ASKING", asking)))

    for group in groups_of("train"):
        if group != "case":
            yield place(f"+{group}._target_=NAME")
            yield place(f"{group}.kind=NAME")
            yield place(f"{group}=NAME")
            yield place(f"+{group}.x=ASKING")
    for word in (
        "callbacks.early_stopping=ASKING", "+callbacks.x._target_=NAME", "optimizer.lr=ASKING",
        "backbone.kwargs=ASKING",
        "backbone.kwargs._target_=NAME", "backbone.name=NAME", "+_target_=NAME", "+x=ASKING", "cut.kind=ASKING",
        "+hydra.callbacks.x=ASKING", "+hydra.callbacks.x._target_=NAME", "hydra.callbacks.comparison._target_=NAME",
        "hydra.launcher._target_=NAME", "+hydra.launcher.x=ASKING", "hydra.launcher=ASKING",
        "hydra.sweeper._target_=NAME", "hydra.sweeper.params=ASKING", "+hydra.sweeper.x=[ASKING]",
        "hydra.searchpath=[pkg://NAME]", "+hydra.job_logging.handlers={x: {class: NAME}}",
        "+hydra.job_logging.handlers={x: {'()': NAME}}", "+hydra.job_logging.formatters={x: {'()': NAME}}",
        "+hydra.job_logging.filters={x: {'()': NAME}}", "+hydra.job_logging.formatters={x: {class: NAME}}",
        "+hydra.hydra_logging.handlers={x: {class: NAME}}", "+hydra.hydra_logging.handlers={x: {'()': NAME}}",
        "+hydra.job_logging.handlers={x: {class: logging.StreamHandler, stream: 'ext://NAME'}}",
        "+hydra.job_logging.handlers={x: {class: logging.handlers.QueueHandler, queue: NAME}}",
        "+hydra/launcher=NAME", "hydra/job_logging=NAME",
    ):  # fmt: skip
        yield place(word)
    yield place("hydra.callbacks=${own}", "+own={x: {_target_: hostile_canary.Net}}")
    yield place("+hydra.callbacks.x._target_=${own}.call", "+own=hostile_canary")
    yield place("+hydra.callbacks.x=${oc.create:${own}}", "+own={_target_: hostile_canary.Net}")
    stream = "+hydra.job_logging.handlers={x: {class: logging.StreamHandler, stream: '${own}t://os.system'}}"
    yield place(stream, "+own=ex")
    for word in ("hydra.launcher._target_=NAME", "hydra.sweeper._target_=NAME", "+hydra.launcher.x=ASKING"):
        yield place(word, "-m", "seed=0,1")
    yield Place("--config-path", lambda name, _: (*CASE, "--config-path", f"pkg://{name}"))
    custom = ("backbone=custom", "backbone.image_size=32")
    # Code of the user's own, which the canary would be here, is what this key is for: see test_own_backbone.py.
    yield Place("backbone.target", lambda name, _: (*CASE[:3], *custom, f"backbone.target={name}"))


def cases() -> Iterator[Place]:
    """List the places in a case file of a ``--config-dir``."""

    def place(path: str) -> Place:
        def plant(folder: Path, name: str, asking: dict[str, Any]) -> None:
            content: Any = name if path.endswith(("_target_", "()", "class", "kind")) else asking
            for key in reversed(path.split("/")):
                content = {key: content}
            file = folder / "mine" / "case" / "own.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("# @package _global_\n" + yaml.safe_dump(content))

        return Place(f"case {path}", lambda *_: OWN_CASE, plant)

    yield from map(place, (
        "optimizer/_target_", "schedule/x", "head/kind", "callbacks/x", "logger", "freeze/_target_", "_target_", "x",
        "hydra/callbacks/x", "hydra/launcher/_target_", "hydra/launcher/x", "hydra/sweeper/_target_",
        "hydra/job_logging/handlers/x/()", "hydra/job_logging/handlers/x/class", "hydra/job_logging/formatters/x/()",
        "hydra/hydra_logging/handlers/x/class", "backbone/kwargs",
    ))  # fmt: skip


VERBS = {
    "resume": ("resume", "run=run", "trainer.max_epochs=9"),
    "predict": ("predict", "run=run", "images=photos", "trainer=cpu", "output=said"),
    "evaluate": ("evaluate", "run=run", "trainer=cpu", "report=false"),
    "export": ("export", "run=run", "format=safetensors"),
    "inspect": ("inspect", *CASE[1:-2], "init=pretrained", "init.run=run", "trainer=cpu"),
}
CONFIG_KEYS = (
    "optimizer",
    "schedule",
    "head",
    "backbone",
    "callbacks",
    "logger",
    "freeze",
    "data",
    "features",
    "trainer",
)


def folders() -> Iterator[Place]:
    """List the places in a run folder."""

    def place(verb: str, file: str, path: str) -> Place:
        def plant(folder: Path, name: str, asking: dict[str, Any]) -> None:
            at = folder / "run" / file
            content = json.loads(at.read_text())
            inner, (*way, last) = content, path.split("/")
            for key in way:
                inner = inner[key]
            inner[last] = name if last in ("_target_", "kind", "target", "name") else asking
            at.write_text(json.dumps(content))

        return Place(f"{verb} {file} {path}", lambda *_: VERBS[verb], plant)

    for verb in VERBS:
        if verb != "inspect":
            for key in CONFIG_KEYS:
                yield place(verb, "config.json", f"{key}/_target_")
            for path in ("optimizer/kind", "backbone/target", "logger", "callbacks/checkpoint", "x", "_target_"):
                yield place(verb, "config.json", path)
        if verb != "resume":  # which reads none
            for path in ("backbone/_target_", "backbone/name", "head/kind", "head/_target_", "cut/kind",
                         "preprocessing/_target_", "backbone"):  # fmt: skip
                yield place(verb, "model/network.json", path)


# --- run them --------------------------------------------------------------------------------------------------------


NOT_READ = "inspect model/network.json"  # of a run whose weights are taken, nothing but those is read


def tried(
    tlx: Callable[..., Answer],
    watched: Callable[[], list[str]],
    folder: Path,
    pairs: list[tuple[Place, str]],
    scorecard: Scorecard,
) -> None:
    """Try names at places: none may be resolved, all must be refused in a line."""
    resolved, wrong = [], dict[str, str]()
    watched()
    for place, target in pairs:
        asking = asked(target, folder / "lib")
        flow = yaml.safe_dump(asking, default_flow_style=True, width=10**6).strip()
        if (run := folder / "kept").exists():
            shutil.copytree(run, folder / "run", dirs_exist_ok=True)
        place.plant(folder, target, asking)
        answer = tlx(*place.words(target, flow))
        if seen := watched():
            resolved.append(f"{place.name}, {target}: {seen}")
        said = answer.out + answer.err
        refused = answer.code == 2 or (answer.code == 0 and place.name.startswith(NOT_READ))
        if not refused or "Traceback" in said or "bug in tlx" in said:
            wrong[f"{place.name}, {target}"] = f"exit {answer.code}: {said[-400:]}"
    scorecard("R10", {"hostile targets": len(pairs), "resolved": len(resolved)})
    assert not resolved, "\n".join(resolved)
    assert not wrong, "\n\n".join(f"{name}: {said}" for name, said in list(wrong.items())[:20]) + f"\n{len(wrong)}"


def chosen(places: list[Place], count: int) -> list[tuple[Place, str]]:
    """Pair every place with the canary and targets in turn, ``count`` in all; of a sample, every so many places."""
    if count < 1:
        return [
            (place, CANARIES[0] if number % 3 else TARGETS[number]) for number, place in enumerate(places[::-count])
        ]
    pairs = []
    for number, place in enumerate(places):
        names = [TARGETS[(number * (count - 1) + k) % len(TARGETS)] for k in range(count - 1)]
        pairs += [(place, name) for name in dict.fromkeys((CANARIES[0], *names))]
    return [(place, name) for place, name in pairs if place.name != "backbone.target" or name not in CANARIES]


def some_or_all(some: int, all: int) -> pytest.MarkDecorator:
    """Try a sample, one of so many places, and for the scorecard every place with so many names."""
    of_all = pytest.param(all, id="all", marks=pytest.mark.reliability)
    return pytest.mark.parametrize("count", [pytest.param(-some, id="some"), of_all])


@some_or_all(6, 13)
def test_no_name_on_the_command_line_is_resolved(
    tlx: Callable[..., Answer], watched: Callable[[], list[str]], tmp_path: Path, scorecard: Scorecard, count: int
) -> None:
    tried(tlx, watched, tmp_path, chosen(list(lines()), count), scorecard)


@some_or_all(6, 20)
def test_no_name_in_a_case_is_resolved(
    tlx: Callable[..., Answer], watched: Callable[[], list[str]], tmp_path: Path, scorecard: Scorecard, count: int
) -> None:
    tried(tlx, watched, tmp_path, chosen(list(cases()), count), scorecard)


def test_a_harmless_case_and_harmless_names_are_taken(tlx: Callable[..., Answer], tmp_path: Path) -> None:
    """The control of the other side: what is refused above is refused for the names that stand there."""
    (tmp_path / "mine" / "case").mkdir(parents=True)
    content = {
        "hydra": {
            "callbacks": {"x": {"_target_": "hydra.experimental.callbacks.LogJobReturnCallback"}},
            "job_logging": {"handlers": {"x": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}}},
        }
    }
    (tmp_path / "mine" / "case" / "own.yaml").write_text("# @package _global_\n" + yaml.safe_dump(content))
    answer = tlx(*OWN_CASE)
    assert answer.code == 0, answer.err


@some_or_all(16, 5)
def test_no_name_in_a_run_folder_is_resolved(
    tlx: Callable[..., Answer],
    watched: Callable[[], list[str]],
    tmp_path: Path,
    photos: Path,
    scorecard: Scorecard,
    count: int,
) -> None:
    words = ("case=large_similar", *TINY, "data=digits", "data.per_class=4", "callbacks.progress=false", "report=false")
    assert tlx(*words, "trainer.max_epochs=1", "hydra.run.dir=kept").code == 0
    for verb, harmless in VERBS.items() if count > 0 else ():
        shutil.copytree(tmp_path / "kept", tmp_path / "run", dirs_exist_ok=True)
        assert tlx(*harmless).code == 0, verb
    shutil.rmtree(tmp_path / "said", ignore_errors=True)
    tried(tlx, watched, tmp_path, chosen(list(folders()), count), scorecard)
