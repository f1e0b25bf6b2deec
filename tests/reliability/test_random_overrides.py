"""R6: whatever stands on the command line, and however a YAML file is knotted, ends well or with a declared error."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from tests.conftest import Answer, Scorecard
from tests.door.conftest import training  # noqa: F401 (a fixture)
from tlx.__main__ import conf_folder
from tlx.config.check import members
from tlx.config.knots import resolved, untying
from tlx.config.roots import ROOTS
from tlx.door.arguments import VERBS, groups_of
from tlx.errors import InputError

SEED = 20261124
TRAINING = ("train", "advise", "inspect", "pretrain")  # verbs that take a training's config
WEIGHTS = {"train": 8, "advise": 2, "inspect": 2, "pretrain": 2}  # of the verbs; all others once

# Whatever once ended with anything else than it should: kept for good.
FOUND: tuple[tuple[str, ...], ...] = (
    ("~opt=3",),
    ("resume", "D\nC\nB\nA=3"),
    ("report", "runs=${seed}", "runs=empty"),
    ("-m", "case=small_similar", "backbone.name=${nope}", "backbone.name=x", "seed=1,2"),
)

PLAIN = (
    "0", "1", "2", "-1", "0.5", "1e-3", "null", "true", "false", "none", "auto", "sgd", "adamw", "head", "cpu", "x",
    "x/y", "photos", "3,4", "[1,2]", "[0.7,0.15,0.15]", "{a: 1}", "small_similar", "flip", "all", "32", "bf16-mixed",
)  # fmt: skip
ODD = (
    "", " ", "nan", "-nan", "inf", "-inf", "1e999", "-1e-999", "9" * 400, "0x1F", "1_000", "0o17", "1e", ".", "..", "-",
    "...", "007", "+5", "--", "???", "????", "NULL", "None", "~", "~~", "~root-nobody/x", "yes", "2026-11-24", "1:30",
    "[", "]", "[]", "[[]]", "[[[[1]]]]", "[1,", ",", ",,", "1,", "[,]", "{", "}", "{}", "{a", "{a:", "{a:1", "{:}",
    "{a: {b: {c: {d: 1}}}}", "{a: 1, a: 2}", "{[1]: 2}", "{null: 1}", "{1: 2, x: [1, {y: 2}]}", "{kind: sgd}",
    "{kind: 3}", "{kind: [a]}", "{_target_: os.system}", "{_args_: [1]}", "{_partial_: true}", "{0.5: 1}",
    "'", '"', "''", '""', "'a", 'a"', "'a'b", "\\", "\\\\", "\\'", "a\\'b", "'a\\'", '"a b"', "'${x}'", "\\n", "#",
    "#a", "a #b", "a: b", "a:b", "- a", "&a b", "*a", "!!int 3", "!!python/object:os.system x", "!x", "|", ">", "%",
    "@", "`",
    "$", "${", "$}", "${}", "${.}", "${..}", "${...x}", "${seed}", "${optimizer.lr}", "${optimizer}", "${data}",
    "${nope}", "${nope.x}", "${oc.env:HOME}", "${oc.env:TLX_NOT_SET}", "${oc.env:TLX_NOT_SET,3}", "${oc.decode:'[1'}",
    "${oc.select:nope,4}", "${oc.create:{a:1}}", "${oc.nope:1}", "${now:%Y}", "${hydra:job.num}", "${hydra:nope}",
    "${oc.dict.keys:optimizer}", "${oc.deprecated:seed}", "${oc.env:}", "${a${b}}", "${seed}${seed}", "a${seed}b",
    "${optimizer.${seed}}", "choice(1,2)", "choice()", "choice(", "range(1,3)", "range(3,1)", "range(1,3,0)",
    "range(a,b)", "interval(0,1)", "shuffle(1,2)", "sort(2,1)", "sort(2,a)", "glob(*)", "glob([", "tag(a,1)",
    "extend_list(1)", "int(a)", "int(1.5)", "float(x)", "bool(maybe)", "str([1,2])", "json_str({a:1})", "nope(1)",
    "choice(choice(1))", "é", "日本", "\u202eabc", "\u200b", "🦆", "\x01", "\x1b[31mred", "\x7f", "\u0085", "\u2028",
    "\udce9", "a\nb", "a\nb\nc\nd", "\t", "\r", "a b", " a ", "a=b", "a=b=c", "=", "a,b=c", "@a", "a@b", "a@b=c", "(",
    ")", "()", "a;b", "$(id)", "`id`", "*", "?", "[a-z]", "<a>", "%s", "%(x)s", "{0}", "a" * 3000, "[" * 300,
    "{a:" * 100, "(" * 200, "'" * 99, "${" * 60 + "seed" + "}" * 60, "1" + "0" * 5000, "-" + "9" * 5000, "1j", "1e5000",
)  # fmt: skip
FLAGS = (
    ("-m",), ("--multirun",), ("--cfg", "job"), ("-c", "job"), ("--cfg", "all"), ("--cfg", "hydra"), ("--cfg", "nope"),
    ("--help",), ("-h",), ("--hydra-help",), ("--resolve",), ("-p", "optimizer"), ("-p", "nope"), ("--package", "."),
    ("--version",), ("--nope",), ("-x",), ("--cfg",), ("-",), ("--",), ("---",), ("--config-dir", "nowhere"),
    ("--config-dir", "."), ("--config-name", "nope"), ("--config-name", "train"), ("-cn", "evaluate"), ("-cp", "nope"),
    ("--config-path", "."), ("--config-dir=",), ("--config-name=",), ("-cd",), ("--run",), ("-r",), ("--seed=3",),
    ("--cfg=job", "--resolve"), ("-m", "--cfg", "job"), ("-m", "--run"),
)  # fmt: skip
HYDRAS = (
    "hydra.job.name", "hydra.mode", "hydra.verbose", "hydra.job.chdir", "hydra.output_subdir", "hydra.searchpath",
    "hydra.launcher", "hydra.sweeper.params", "hydra.sweeper.max_batch_size", "hydra.job.env_set",
    "hydra.job.config.override_dirname.kv_sep", "hydra.job.num", "hydra.nope", "hydra", "hydra.run", "hydra.callbacks",
    "hydra.overrides.task", "hydra.runtime.cwd", "hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra/help",
    "hydra.sweep.subdir", "hydra.runtime.choices", "hydra.job_logging.level", "hydra.help.app_name",
)  # fmt: skip


def keys_of(root: type) -> Iterator[str]:
    """List the dotted keys of a root, over every kind of every group."""
    hints = typing.get_type_hints(root)
    for field in dataclasses.fields(root):
        yield field.name
        for member in members(hints[field.name]):
            yield from (f"{field.name}.{key}" for key in keys_of(member))


OPTIONS = {
    group.name: sorted(file.stem for file in group.glob("*.yaml"))
    for group in sorted(conf_folder().iterdir())
    if group.is_dir() and group.name != "hydra"
}
KEYS = {verb: sorted(set(keys_of(ROOTS[verb]))) for verb in VERBS}


Known = dict[str, Any]  # the keys that a training has, and their values


def known_of(config: Known, where: str = "") -> Iterator[tuple[str, Any]]:
    """List the dotted keys of a plain config with their values."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from known_of(value, f"{where}{key}.")
        elif key != "kind":
            yield f"{where}{key}", value


def line_of(draw: random.Random, known: Known) -> list[str]:
    """Draw a command line."""
    verb = draw.choice([verb for verb in VERBS for _ in range(WEIGHTS.get(verb, 1))])
    words = [_word(draw, verb, known) for _ in range(draw.choice((1, 1, 1, 1, 2, 2, 3)))]
    if verb in TRAINING and verb != "advise" and draw.random() < 0.9:
        words.insert(0, f"case={draw.choice(OPTIONS['case'])}")
    given = {"pretrain": ("output=x.safetensors",), "predict": ("images=photos",), "export": ("format=onnx",)}
    if draw.random() < 0.8:
        words += given.get(verb, ())
    if verb not in TRAINING and draw.random() < 0.8:
        words.append(("runs=" if verb == "report" else "run=") + draw.choice(("done", "began", "empty", "nowhere")))
    if draw.random() < 0.1:
        at = draw.randrange(len(words) + 1)
        words[at:at] = draw.choice(FLAGS)
    if draw.random() < 0.05:
        draw.shuffle(words)
    return words if verb == "train" and draw.random() < 0.5 else [verb, *words]


def _word(draw: random.Random, verb: str, known: Known) -> str:
    kind = draw.random()
    if kind < 0.25:
        group = draw.choice(sorted(OPTIONS) if draw.random() < 0.3 else groups_of(verb) or sorted(OPTIONS))
        options = OPTIONS.get(group, ["x"])
        word = f"{group}={draw.choice(options) if draw.random() < 0.7 else draw.choice(ODD)}"
        if draw.random() < 0.2:
            word += f",{draw.choice(options)}"
    elif kind < 0.55 and verb in TRAINING:
        key = draw.choice(sorted(known))
        word = f"{key}={json.dumps(known[key]) if draw.random() < 0.4 else draw.choice(PLAIN + ODD)}"
    else:
        key = draw.choice(HYDRAS if kind < 0.6 else KEYS[verb])
        word = f"{key}={draw.choice(PLAIN if draw.random() < 0.4 else ODD)}"
        if draw.random() < 0.1:
            word += f",{draw.choice(PLAIN + ODD)}"
    word = draw.choice(("",) * 24 + ("~", "+", "++", "+++", "~~", "-", "@", "~+")) + word
    if draw.random() < 0.03:
        word = word.partition("=")[0]
    for _ in range(draw.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 4))):
        word = _mutated(draw, word)
    return word


def _mutated(draw: random.Random, word: str) -> str:
    at = draw.randrange(len(word) + 1)
    other = draw.randrange(len(word) + 1)
    sign = draw.choice("=.,~+@:/'\"\\[]{}()$#&*!%?-_ aZ0é\x02\n")
    return draw.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + sign + word[at:],
            word[:at] + sign + word[at + 1 :],
            word[: min(at, other)] + word[max(at, other) :],
            word[:at] + word[min(at, other) : at] + word[at:],
            word.swapcase(),
            word[::-1] if len(word) < 20 else word[:-1],
            word + draw.choice(ODD),
        )
    )


def harmless(words: list[str]) -> bool:
    """Whether a line writes below this folder only, and starts few jobs: the person who types it may do more."""
    return not any(
        (
            re.search(r"dir=|subdir|chdir|cwd|env_set|output|hydra(?!/|-help)", word)
            and re.search(r"[/~\\$]|\.\.|={2}|=.*=", word.partition("=")[2])
        )
        or word.count(",") > 8
        for word in words
    )


def complaint(words: tuple[str, ...] | list[str], answer: Answer) -> str:
    """Say what is wrong with how a line ended; nothing where it ended as it should."""
    sweep = any(word in ("-m", "--multirun") or word.startswith("hydra.mode") for word in words)
    if answer.code not in (0, 2, 3):
        return f"exit code {answer.code}"
    if "Traceback" in answer.err or "a bug in tlx" in answer.err + answer.out:
        return "a traceback"
    if answer.code and not answer.err.startswith("tlx: error: "):
        return "no declared error"
    if answer.code and not sweep and answer.err.count("\n") > 2:
        return f"{answer.err.count(chr(10))} lines"
    if not all(sign.isprintable() or sign == "\n" for sign in answer.err):
        return "signs that a terminal obeys"
    return ""


@pytest.fixture
def door(
    tlx: Callable[..., Answer], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """Run command lines with what stands in for trainings, beside a few run folders and a folder of photographs."""
    request.getfixturevalue("training")(lambda config, folder: None)
    monkeypatch.setattr("tlx.verbs.pretrain.train", lambda *_: {})
    monkeypatch.setattr("tlx.verbs.resume.train", lambda *_, **__: {})
    monkeypatch.setattr("tlx.verbs.inspect.inspect", lambda config: None)
    monkeypatch.setattr("tlx.verbs.advise.advise", lambda asked: {})
    monkeypatch.setattr("tlx.verbs.auto.auto", lambda *_: {})
    for folder in ("done", "began"):
        assert tlx("case=small_similar", f"hydra.run.dir={folder}").code == 0
    (tmp_path / "began" / "result.json").unlink()
    (tmp_path / "done" / "model").mkdir()  # finished, and without all that a real run leaves there
    for folder in ("empty", "photos"):
        (tmp_path / folder).mkdir()
    (tmp_path / "photos" / "x.png").write_bytes(b"no image")
    return tlx


@pytest.mark.filterwarnings("ignore")  # which a person sees as a line; here they would end the job
@pytest.mark.parametrize("count", [40, pytest.param(5000, marks=pytest.mark.reliability)])
def test_any_command_line_is_done_or_refused(
    door: Callable[..., Answer], tmp_path: Path, scorecard: Scorecard, count: int
) -> None:
    known = dict(known_of(json.loads((tmp_path / "done" / "config.json").read_text())))
    draw, wrong, done = random.Random(SEED), dict[tuple[str, ...], str](), 0
    lines = [list(words) for words in FOUND]
    while len(lines) < count + len(FOUND):
        if harmless(words := line_of(draw, known)):
            lines.append(words)
    for words in lines:
        answer = door(*words)
        done += answer.code == 0
        if said := complaint(words, answer):
            wrong[tuple(words)] = f"{said}\n{answer.err[-1500:]}"
    scorecard("R6", {"random overrides": count, "raw exceptions": len(wrong)})
    assert not wrong, "\n\n".join(f"{words}: {said}" for words, said in wrong.items())
    assert 0.03 * count < done < 0.9 * count  # both ends are reached


# --- bombs -----------------------------------------------------------------------------------------------------------

GREW_MB, SECONDS, ADDRESSES = 150, 10, 8 * 2**30  # what a bomb may cost; a busy machine takes its time

HEAD = "# @package _global_\n"
WIDE = ",".join(["x"] * 9)


def aliases(levels: int, first: str = f"[{WIDE}]", level: str = "[{}]") -> str:
    """Write the laughs: every level names the one before nine times."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{i}: &a{i} " + level.format(",".join([f"*a{i - 1}"] * 9)) for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def chain(levels: int, times: int = 10) -> dict[str, str]:
    """Write the same laughs as interpolations."""
    return {"a0": "ten letter", **{f"a{i}": f"${{a{i - 1}}}" * times for i in range(1, levels)}}


CASES = {
    "laughs": aliases(10),
    "few_bytes": aliases(7),
    "mappings": aliases(9, "{k: 1}", "{{p: [{}]}}"),
    "merged": aliases(9, "{k: 1}", "{{<<: [{}]}}"),
    "circle": "x: &a [*a]\n",
    "knot": "x: &a {y: &b [*a, *b]}\n",
    "deep_list": f"x: {'[' * 20_000}{']' * 20_000}\n",
    "deep_mapping": f"x: {'{a: ' * 5_000}{'}' * 5_000}\n",
    "chained": yaml.safe_dump(chain(10)),
    "relative": "x:\n  a0: ten letter\n" + "".join(f"  a{i}: {f'${{.a{i - 1}}}' * 10}\n" for i in range(1, 10)),
    "inside_a_group": "backbone:\n  kwargs:\n" + "".join(f"    {line}\n" for line in aliases(9).splitlines()),
}
LINES = {
    "an_override_nested_deeply": ("case=small_similar", f"backbone.kwargs={'[' * 5_000}{']' * 5_000}"),
    "overrides_chained": (
        "case=small_similar",
        "backbone.kwargs={a0: ten letter, "
        + ", ".join(f"a{i}: '{f'${{backbone.kwargs.a{i - 1}}}' * 10}'" for i in range(1, 10))
        + "}",
    ),
    "an_override_of_itself": ("case=small_similar", "seed=${optimizer.lr}", "optimizer.lr=${seed}"),
}
CONFIGS = {
    "chained_in_a_run": json.dumps({"seed": 0, **chain(10)}),
    "lists_chained_in_a_run": json.dumps(
        {"a0": ["x"] * 10, **{f"a{i}": [f"${{a{i - 1}}}"] * 10 for i in range(1, 10)}}
    ),
    "deep_in_a_run": "[" * 100_000 + "]" * 100_000,
    "less_deep_in_a_run": json.dumps({"x": 0}).replace("0", "[" * 900 + "]" * 900),
}
BESIDES = {"overrides_of_a_run": aliases(9, "{k: 1}", "{{<<: [{}]}}"), "multirun_of_a_sweep": aliases(10)}

CHILD = """
import contextlib, io, json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, ({addresses}, {addresses}))
from tlx.__main__ import main
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
for words in json.loads(sys.stdin.read()):
    sys.argv, out, err, before, began = ["tlx", *words], io.StringIO(), io.StringIO(), peak(), time.monotonic()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    told = [code, out.getvalue(), err.getvalue(), time.monotonic() - began, peak() - before]
    print(json.dumps(told), flush=True)
"""


def went_off(lines: list[list[str]], folder: Path) -> list[tuple[Answer, float, float]]:
    """Run command lines one after another in a process of their own: how each ended, its seconds, its megabytes."""
    child = CHILD.replace("{addresses}", str(ADDRESSES))
    told = subprocess.run(
        [sys.executable, "-c", child], input=json.dumps(lines), capture_output=True, text=True, cwd=folder, timeout=500
    )
    found = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(found) == len(lines), f"{lines[len(found)]} ended the process: {told.stderr[-1000:]}"
    return [(Answer(*one[:3]), one[3], one[4]) for one in found]


def planted(folder: Path) -> dict[str, list[str]]:
    """Write all bombs into a folder; return the command line that lights each."""
    lines = {name: list(words) for name, words in LINES.items()}
    (folder / "conf" / "case").mkdir(parents=True)
    for name, content in CASES.items():
        (folder / "conf" / "case" / f"{name}.yaml").write_text(HEAD + content)
        lines[name] = ["--config-dir", "conf", f"case={name}"]
    for name, content in CONFIGS.items():
        _run(folder / name, content)
        lines[name] = ["evaluate", f"run={name}"]
    for number, (name, content) in enumerate(BESIDES.items()):
        for job in ("0_a", "1_b"):
            run = _run(folder / name / job, "{}")
            (run / "result.json").unlink()
            (run / ".hydra").mkdir()
            (run / ".hydra" / "overrides.yaml").write_text("[]" if number else content)
        (folder / name / "multirun.yaml").write_text(content)
        lines[name] = ["report", f"runs={name}"]
    return lines


def _run(folder: Path, config: str) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "config.json").write_text(config)
    (folder / "result.json").write_text("{}")
    return folder


BOMBS = [*CASES, *LINES, *CONFIGS, *BESIDES]
QUICK = ["few_bytes", "circle", "deep_mapping", "chained", "an_override_of_itself"]  # which need no torch


@pytest.mark.parametrize("names", [QUICK, pytest.param(BOMBS, marks=pytest.mark.reliability)], ids=["some", "all"])
def test_bombs_do_not_go_off(tmp_path: Path, scorecard: Scorecard, names: list[str]) -> None:
    lines = planted(tmp_path)
    for verb in ("train", "evaluate", "report"):  # what is imported once is not the bombs' doing
        lines[verb] = [verb, f"runs={tmp_path}" if verb == "report" else f"run={tmp_path}"]
    order = [*(("train", "evaluate", "report") if names == BOMBS else ("train",)), *names]
    answers = went_off([lines[name] for name in order], tmp_path)
    wrong = {}
    for name, (answer, seconds, grew) in list(zip(order, answers, strict=True))[-len(names) :]:
        said = complaint(lines[name], answer) or (f"{seconds:.1f} s" if seconds > SECONDS else "")
        if said := said or (f"{grew:.0f} MB" if grew > GREW_MB else ""):
            wrong[name] = f"{said} {answer.err[-800:]}"
    scorecard("R6", {"alias bombs": len(names), "raw exceptions": len(wrong)})
    assert not wrong


def test_without_their_guards_the_bombs_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control, at sizes that a machine can bear."""
    (tmp_path / "bomb.yaml").write_text(small := aliases(4, "[x,x]"))
    assert len(str(OmegaConf.load(tmp_path / "bomb.yaml"))) > 50 * len(small)
    (tmp_path / "bomb.yaml").write_text(aliases(6))
    with untying(), pytest.raises(yaml.YAMLError, match="stand for more than"):
        OmegaConf.load(tmp_path / "bomb.yaml")
    with pytest.raises(InputError, match="interpolations of what is itself interpolated"):
        resolved(chain(6))
    monkeypatch.setattr("tlx.config.knots.CHAINED", 1000)
    assert len(resolved(chain(4))["a3"]) == 10**4


def test_what_is_no_bomb_is_read(tmp_path: Path) -> None:
    (tmp_path / "fair.yaml").write_text("a: &a [1, 2, {b: 3}]\nc: [*a, *a]\nd: {<<: {e: 4}}\n")
    with untying():
        fair = OmegaConf.load(tmp_path / "fair.yaml")
    assert fair == {"a": [1, 2, {"b": 3}], "c": [[1, 2, {"b": 3}]] * 2, "d": {"e": 4}}
    plain = {"a": 1, "b": ["${a}"] * 100, "c": {"d": "${a}/${b}", "e": "${oc.env:HOME}" * 50}}
    assert resolved(plain)["b"] == [1] * 100
