"""The house stands on floors: imports go down only, and what is heavy stays out of the door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import tlx
from tlx.__main__ import conf_folder

PACKAGE = Path(tlx.__file__).parent
# (floor, place on it): an import goes to a lower floor or, on floor 0 alone, to a lower place.
FLOORS = {
    "tlx": (0, 0), "errors": (0, 1), "config": (0, 2), "randomness": (0, 3), "storage": (0, 4), "interruption": (0, 5),
    "guide": (0, 6), "hub": (0, 7), "one_thread": (0, 8), "preprocessing": (0, 9),
    "secrecy": (0, 10), "caches": (0, 11),
    "network": (1, 0), "data": (1, 0), "results": (1, 0),
    "learner": (2, 0), "features": (2, 0), "export": (2, 0),
    "training": (3, 0),
    "advice": (4, 0),
    "verbs": (5, 0),
    "door": (6, 0),
    "notebook": (7, 0),
}  # fmt: skip
# The package's own names are those of the notebook, on the highest floor: it names them to type checkers and to
# importlib, and imports nothing up there when it is imported itself.
HANDS_ON = {"tlx": "tlx.notebook"}
# Who alone may import a library, by unit or by module.
RESERVED = {
    "timm": {"network"},
    "pyarrow": {"data"},
    "datasets": {"data"},
    "onnx": {"export"},
    "onnxscript": {"export"},
    "onnxruntime": {"export"},
    "hydra": {"door"},
    "omegaconf": {"door", "config"},
}
LIGHT_UNITS = ("config", "errors", "door", "guide", "tlx")
HEAVY = {
    "torch", "torchvision", "timm", "pytorch_lightning", "lightning", "lightning_fabric", "torchmetrics", "sklearn",
    "skimage", "scipy", "matplotlib", "safetensors", "huggingface_hub", "PIL", "numpy", "pandas", "tensorboard",
    "pyarrow", "datasets", "onnx", "onnxscript", "onnxruntime",
}  # fmt: skip
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST = 300
OF_A_MACHINE = re.compile(r"/(root|home|Users|mnt|tmp)/\w")


class Import(NamedTuple):
    module: str
    name: str  # what is taken from the module, or ""
    at_start: bool  # runs when the importing module is imported


def imports(source: str) -> Iterator[Import]:
    def visit(node: ast.AST, at_start: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, "", at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import("." * node.level + (node.module or ""), a.name, at_start) for a in node.names)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        later = typing_only or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_start and not later)

    yield from visit(ast.parse(source), True)


def unit_of(module: str) -> str:
    parts = module.split(".")
    if len(parts) == 1:
        return parts[0]
    return "door" if parts[1] == "__main__" else parts[1]


def resolved(found: Import, known: Mapping[str, str]) -> str:
    """Name the module that an import means: ``from tlx import errors`` means ``tlx.errors``."""
    inner = f"{found.module}.{found.name}"
    return inner if inner in known else found.module


def breaches(sources: Mapping[str, str]) -> list[str]:
    """List every import that does not go down, and every library where it does not belong."""
    found = []
    for module, source in sources.items():
        unit = unit_of(module)
        if unit not in FLOORS:
            found.append(f"{module}: no floor for {unit}")
            continue
        for one in imports(source):
            target = resolved(one, sources)
            if target.startswith("."):
                found.append(f"{module}: relative import of {target}")
            elif target.split(".")[0] == "tlx":
                to = unit_of(target)
                if HANDS_ON.get(module) == target and not one.at_start:
                    continue
                (own_floor, own_place), (floor, place) = FLOORS[unit], FLOORS.get(to, (99, 0))
                if to != unit and not (floor < own_floor or (floor == own_floor == 0 and place < own_place)):
                    found.append(f"{module}: imports {target}")
            elif (owners := RESERVED.get(target.split(".")[0])) and not {unit, module} & owners:
                found.append(f"{module}: imports {target}")
    return found


def heavy(sources: Mapping[str, str]) -> list[str]:
    """List the ways on which importing a module of the door, the config or the errors imports something heavy."""
    found = []

    def follow(module: str, way: tuple[str, ...]) -> None:
        parents = [module.rpartition(".")[0]] if "." in module else []
        for one in [*(Import(p, "", True) for p in parents), *imports(sources[module])]:
            target = resolved(one, sources)
            if one.at_start and target.split(".")[0] in HEAVY:
                found.append(" > ".join([*way, module, target]))
            if one.at_start and target in sources and target not in (*way, module, *seen):
                seen.add(target)
                follow(target, (*way, module))

    for module in sources:
        if unit_of(module) in LIGHT_UNITS:
            seen: set[str] = set()
            follow(module, ())
    return found


def package() -> dict[str, str]:
    sources = {}
    for file in PACKAGE.rglob("*.py"):
        parts = ("tlx", *file.relative_to(PACKAGE).with_suffix("").parts)
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file.read_text("utf-8")
    return sources


def test_imports_go_down_only() -> None:
    sources = package()
    assert len(sources) > 40
    assert breaches(sources) == []


def test_what_is_light_imports_nothing_heavy() -> None:
    assert heavy(package()) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tlx.data.x", "from tlx.verbs.train import train"),
        ("tlx.data.x", "from tlx.network.cut import cut_at"),
        ("tlx.results.x", "def late():\n    from tlx.data.own import folder"),
        ("tlx.errors", "import tlx.config.check"),
        ("tlx.config.x", "from tlx import storage"),
        ("tlx.storage", "from tlx.interruption import Interruption"),
        ("tlx.learner.x", "from tlx.features.bank import Bank"),
        ("tlx.training.x", "from tlx.advice.trial import Trial"),
        ("tlx.verbs.x", "from tlx.door.job import run"),
        ("tlx.verbs.x", "from tlx.__main__ import main"),
        ("tlx.verbs.x", "from ..door import job"),
        ("tlx.novelty", ""),
        ("tlx.data.x", "import timm"),
        ("tlx.verbs.x", "def late():\n    from hydra.core.hydra_config import HydraConfig"),
        ("tlx.network.x", "from omegaconf import OmegaConf"),
        ("tlx.verbs.train", "from omegaconf import OmegaConf"),
        ("tlx", "from tlx.notebook import load"),
        ("tlx", "if TYPE_CHECKING:\n    from tlx.verbs.train import train"),
        ("tlx.door.x", "def late():\n    from tlx.notebook import load"),
    ],
)
def test_the_check_of_the_floors_can_fail(module: str, source: str) -> None:
    known = dict.fromkeys(["tlx", "tlx.storage", "tlx.door", "tlx.door.job"], "")
    assert breaches(known) == []
    assert breaches({**known, "tlx": "if TYPE_CHECKING:\n    from tlx.notebook import load"}) == []
    assert len(breaches({**known, module: source})) == 1


@pytest.mark.parametrize(
    ("sources", "count"),
    [
        ({"tlx.door.x": "import torch"}, 1),
        ({"tlx.door.x": "try:\n    import torch\nexcept ImportError:\n    pass"}, 1),
        (
            {"tlx.door.x": "from tlx.network import cut", "tlx.network": "", "tlx.network.cut": "from torch import nn"},
            1,
        ),
        ({"tlx.door.x": "import tlx.network.cut", "tlx.network": "import timm", "tlx.network.cut": ""}, 1),
        ({"tlx.door.x": "def late():\n    import torch"}, 0),
        ({"tlx.door.x": "if TYPE_CHECKING:\n    import torch"}, 0),
        ({"tlx.data": "", "tlx.data.x": "import torch"}, 0),
    ],
)
def test_the_check_of_what_is_heavy_can_fail(sources: dict[str, str], count: int) -> None:
    assert len(heavy({"tlx": "", "tlx.door": "", **sources})) == count


def ill_named(names: list[str]) -> list[str]:
    return [name for name in names if EMPTY_NAMES & set(name.split("."))]


def test_every_module_has_a_noun() -> None:
    assert ill_named(list(package())) == []
    assert ill_named(["tlx.utils", "tlx.data.helpers.x", "tlx.data.commons"]) == ["tlx.utils", "tlx.data.helpers.x"]


def test_no_module_is_too_long() -> None:
    assert {name: lines for name, text in package().items() if (lines := text.count("\n")) > LONGEST} == {}


def test_no_file_names_a_place_of_this_machine() -> None:
    endings = {".py", ".yaml", ".json", ".md", ".txt", ".toml"}
    files = [f for folder in (PACKAGE, conf_folder()) for f in folder.rglob("*") if f.suffix in endings]
    assert len(files) > 80
    assert [str(f) for f in files if OF_A_MACHINE.search(f.read_text("utf-8"))] == []
    assert OF_A_MACHINE.search("output=/home/someone/tlx")
    assert not OF_A_MACHINE.search("data.root=/path/of/images network/home.py")
