"""The wheel: built, installed elsewhere without the network, and run with a user's own case."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tlx
from tests.conftest import TINY

CHECKOUT = Path(tlx.__file__).parents[1]
# The README's own ten lines, so that they stay true.
OWN_CASE = (CHECKOUT / "README.md").read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]


def run(*words: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, **kwargs)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT))
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = run("-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(folder), str(wheel))
    assert done.returncode == 0, done.stderr
    return folder


def lacking(names: set[str]) -> list[str]:
    """List the files of the package, its configuration and its assets that are not among the names."""
    wanted = []
    for folder, inside in ((CHECKOUT / "tlx", "tlx"), (CHECKOUT / "conf", "tlx/conf")):
        files = (f for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
        wanted += [f"{inside}/{f.relative_to(folder).as_posix()}" for f in files]
    return sorted(set(wanted) - names)


def test_everything_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert lacking(names) == []
    assert "tlx = tlx.__main__:main" in entry
    assert not [name for name in names if name.startswith(("tests", "outputs", "conf/"))]
    assert lacking(names - {"tlx/conf/case/small_similar.yaml"}) == ["tlx/conf/case/small_similar.yaml"]


def test_installed_elsewhere_it_runs_a_users_own_case(site: Path, tmp_path: Path, photos: Path) -> None:
    assert OWN_CASE.startswith("# @package _global_")
    assert len(OWN_CASE.splitlines()) <= 10
    (tmp_path / "conf" / "case").mkdir(parents=True)
    (tmp_path / "conf" / "case" / "mine.yaml").write_text(OWN_CASE)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    where = "import tlx, tlx.__main__ as m; print(tlx.__file__); print(m.conf_folder())"
    said = run("-c", where, env=environment, cwd=tmp_path).stdout.splitlines()
    assert [Path(line) for line in said] == [site / "tlx" / "__init__.py", site / "tlx" / "conf"]  # not the checkout
    words = ("-m", "tlx", "--config-dir", "conf", "case=mine", "seed=1", f"data.root={photos}", *TINY)
    done = run(*words, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = (tmp_path / "outputs" / "runs").glob("*_mine_*/result.json")
    result = json.loads(file.read_text())
    assert (result["case"], result["seed"], result["backbone"]) == ("mine", 1, "test_resnet")
    assert result["frozen_unchanged"] is True
    assert (result["data"], result["cut"], result["surgery"]["cut"]) == ("photos", "stage", "behind stage layer2")
    assert 0.1 < result["metrics"]["test"]["accuracy"] <= 1
