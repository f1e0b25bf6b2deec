"""The door: ``python -m tlx [VERB] [GROUP=OPTION ...] [KEY=VALUE ...]``."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tlx import __version__
from tlx.errors import EXIT_DONE, EXIT_SIGINT, InputError, TlxError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Before torch is imported: threads that wait for each other soon sleep. As is usual, they wait busily; where others
    # use the machine too, that is for a thread that is not running, and what takes seconds takes a minute.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # And the last bit of a product of MKL's no longer depends on where in memory its factors happen to lie: on some
    # processors a run that is resumed would else differ from one that was not.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    try:
        try:
            code = run(sys.argv[1:])
        finally:  # Hydra's help ends the process by itself
            sys.stdout.flush()
    except TlxError as error:
        from tlx.results.console import error as say

        say(str(error))
        code = error.exit_code
    except BrokenPipeError:  # whoever reads has read enough, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed into it
        code = EXIT_DONE
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run a command line and return its exit code.

    Raises:
        TlxError: What is wrong with the command line itself.
    """
    if not words:
        from tlx.guide import GUIDE

        sys.stdout.write(GUIDE)
        return EXIT_DONE
    if "--version" in words:
        sys.stdout.write(f"tlx {__version__}\n")
        return EXIT_DONE
    from tlx.door.arguments import prepare, split_verb

    completing = "COMP_LINE" in os.environ and any(word.startswith("query=") for word in words)
    words = _completing(words) if completing else words
    verb, rest = split_verb(words)
    _check_flags(rest)
    if completing:
        return _compose_and_run(verb, rest, words)
    if verb == "resume":
        from tlx.door.sweep import again

        if sweep := again(rest):
            return _compose_and_run("train", prepare("train", sweep), words, resuming=True)
    return _compose_and_run(verb, prepare(verb, rest), words)


def _compose_and_run(verb: str, overrides: list[str], command: list[str], resuming: bool = False) -> int:
    from tlx.door.sweep import finish, worst

    codes: list[int] = []

    def job(config: DictConfig) -> int:
        from tlx.door.job import run as run_job  # not for --help

        codes.append(run_job(verb, config, command, resuming))
        return codes[-1]

    try:
        compose(verb, overrides, job)
    except KeyboardInterrupt as interruption:
        finish(interrupted=True)
        return interruption.args[0] if interruption.args else EXIT_SIGINT
    swept = finish()
    return worst(codes) if swept is None else swept


def compose(verb: str, overrides: list[str], job: Callable[[DictConfig], Any]) -> None:
    """Let Hydra compose what the overrides say and call ``job`` with it, once, or once a job of a sweep.

    Raises:
        TlxError: What is wrong with the overrides; ``job`` answers for itself.
    """
    import hydra

    from tlx.config.knots import untying
    from tlx.door.complaints import explain
    from tlx.door.named import checked_names

    _check_usage(overrides)
    os.environ["TLX_UNIQUE"] = secrets.token_hex(4)  # part of folder names: many may start in a second
    os.environ["HYDRA_FULL_ERROR"] = "1"  # its own report is a traceback; ours is a line
    argv, sys.argv = sys.argv, [sys.argv[0], *overrides]
    try:
        with untying(), checked_names():
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=verb)(job)()
    except BrokenPipeError:
        raise
    except Exception as error:  # jobs answer for themselves: what arrives here is about the command line
        raise explain(error, verb) from None
    finally:
        sys.argv = argv


def conf_folder() -> Path:
    """Find the configuration: the copy inside an installed wheel, else the checkout's."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise InputError(f"no configuration beside {package}", "install tlx again")


def _check_flags(words: list[str]) -> None:
    from hydra._internal.utils import get_args_parser

    actions = [action for action in get_args_parser()._actions if action.dest != "experimental_rerun"]  # unpickles
    known = [flag for action in actions for flag in action.option_strings]
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag not in known:
            raise InputError(f"unknown flag {flag}", nearest(flag, [k for k in known if k.startswith("--")]))


def _check_usage(words: list[str]) -> None:
    from hydra._internal.utils import get_args_parser

    def complain(message: str) -> NoReturn:
        raise InputError(message, "see python -m tlx --help")

    parser = get_args_parser()
    parser.error = complain  # type: ignore[method-assign]  # its own prints a page of usage
    parser.parse_args(words)


def _completing(words: list[str]) -> list[str]:
    """Take the verb off the line that the shell wants completed, and offer the verbs themselves."""
    from tlx.door.arguments import VERBS

    line = os.environ["COMP_LINE"]
    name, *typed = line.split()
    if len(typed) <= 1 and "=" not in line and not (typed and line.endswith(" ")):
        sys.stdout.write(" ".join(v for v in VERBS if v.startswith(typed[0] if typed else "")) + " ")
    if typed and typed[0] in VERBS and (len(typed) > 1 or line.endswith(" ")):
        os.environ["COMP_LINE"] = " ".join([name, *typed[1:]]) + (" " if line.endswith(" ") else "")
        return [typed[0], *words]
    return words


if __name__ == "__main__":
    main()
