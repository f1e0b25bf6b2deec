"""The hub: folders laid out as its data sets, its cache, and a hub that cannot be reached."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TINY, Answer
from tests.data.own.forms import COLOURS, COUNTS, as_hub_parquet, complaint, make_photos, names
from tlx.config.groups import HubData
from tlx.data.open import open_source
from tlx.data.own import hub as hubs
from tlx.data.source import SPLITS, fingerprint
from tlx.errors import EXIT_INPUT, EXIT_MACHINE, MachineError

NO_HUB = "Name or service not known"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def parquet(tmp_path: Path, cache: Path) -> Path:
    (tmp_path / "made").mkdir()
    return Path(as_hub_parquet(make_photos(tmp_path / "photos"), tmp_path / "made").name)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "out_of_reach", lambda: NO_HUB)


def test_a_folder_is_read_without_the_network(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    source = open_source(HubData(name=str(parquet)), 0)
    assert [len(source.split(s).labels) for s in SPLITS] == [3 * COUNTS[s] for s in SPLITS]
    assert source.classes == tuple(sorted(COLOURS))


def test_a_folder_of_class_folders_is_one_split(tmp_path: Path, cache: Path) -> None:
    photos = make_photos(tmp_path / "photos")
    source = open_source(HubData(name=str(photos / "train")), 0)
    assert sum(len(source.split(s).labels) for s in SPLITS) == 3 * COUNTS["train"]
    assert source.classes == tuple(sorted(COLOURS))


def test_the_order_of_images_is_that_of_their_paths(tmp_path: Path, cache: Path) -> None:
    source = open_source(HubData(name=str(make_photos(tmp_path / "photos"))), 0)
    told = names(source)["train"]
    assert told == [
        f"train/{i} (train/{c}/{i % 6:02d}.png)" for i, c in enumerate(c for c in COLOURS for _ in range(6))
    ]


@pytest.mark.usefixtures("unreachable")
def test_what_was_loaded_before_serves_without_the_hub(parquet: Path, cache: Path) -> None:
    """The library prepares a set of the hub as it does a folder, under another name."""
    known = open_source(HubData(name=str(parquet)), 0)
    (version,) = cache.glob("*/*/0.0.0")
    prepared = next(path for path in version.iterdir() if path.is_dir())
    place = cache / "owner___photos" / "default" / "0.0.0" / ("0" * 40)
    shutil.copytree(prepared, place)
    for file in place.glob("*.arrow"):
        file.rename(place / file.name.replace("parquet", "photos").replace("hub-", "photos-"))
    source = open_source(HubData(name="owner/photos"), 0)
    assert [fingerprint(source.split(s)) for s in SPLITS] == [fingerprint(known.split(s)) for s in SPLITS]
    assert f"out of reach ({NO_HUB})" in complaint(HubData(name="owner/other"))  # the negative control


@pytest.mark.usefixtures("cache", "unreachable")
def test_a_hub_out_of_reach_ends_the_command_with_what_to_do(tlx: Callable[..., Answer]) -> None:
    answer = tlx("case=small_similar", "data=hub", "data.name=beans", *TINY)
    assert answer.code == EXIT_INPUT
    assert "Traceback" not in answer.err
    assert " ".join(answer.err.split()).endswith(
        f"tlx: error: the data set beans is not in the cache and the hub is out of reach ({NO_HUB}); "
        "give a local copy (data.name=PATH), or the folder of a cache that has it (the environment variable HF_HOME)"
    )


@pytest.mark.usefixtures("cache")
def test_a_silent_hub_is_told_within_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client itself would retry for a minute."""
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: time.sleep(60))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    hubs.library()  # importing it is not what is timed
    started = time.monotonic()
    assert "the hub is out of reach (no answer in 5 s)" in complaint(HubData(name="beans"))
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("cache")
def test_offline_by_wish_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "out of reach (HF_HUB_OFFLINE is set)" in complaint(HubData(name="beans"))


@pytest.mark.usefixtures("cache")
def test_the_hub_is_asked_for_name_config_and_revision(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    loaded, asked = datasets.load_dataset(str(parquet)), []
    monkeypatch.setattr(hubs, "out_of_reach", lambda: "")
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or loaded)
    source = open_source(HubData(name="owner/photos", config="small", revision="v2"), 0)
    assert asked == [(("owner/photos", "small"), {"revision": "v2"})]
    assert len(source.train.labels) == 3 * COUNTS["train"]


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("scripts are no longer supported"), "beans cannot be loaded (scripts are no longer supported);"),
        (ValueError("Config is missing.\nThe available: ['a']"), "The available: ['a']); choose one: data.config="),
        (ValueError("BuilderConfig 'c' not found. Available: ['a']"), "Available: ['a']); choose one: data.config=..."),
        (OSError(), "beans cannot be loaded (OSError); check"),
    ],
)  # fmt: skip
def test_what_the_hub_answers_is_told_in_a_line(error: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(hubs, "out_of_reach", lambda: "")
    monkeypatch.setattr("datasets.load_dataset", fails)
    assert told in complaint(HubData(name="beans"))


@pytest.mark.usefixtures("cache")
def test_what_may_not_be_read_is_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "some.parquet")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(MachineError, match=r"some\.parquet may not be read; change its permissions") as caught:
        open_source(HubData(name=str(tmp_path)), 0)
    assert caught.value.exit_code == EXIT_MACHINE


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "a/b/c", "~/nowhere-at-all"])
def test_what_is_neither_folder_nor_name_is_told(name: str) -> None:
    assert f"data.name={name} is no folder; give a folder, or a name on the hub" in complaint(HubData(name=name))


@pytest.mark.usefixtures("cache")
def test_other_folders_are_told(parquet: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty cannot be loaded (" in complaint(HubData(name=str(tmp_path / "empty")))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "code.py").write_text("raise SystemExit('this ran')")
    assert "scripts are no longer supported" in complaint(HubData(name=str(tmp_path / "code")))
    said = complaint(HubData(name=str(parquet), revision="v2"))
    assert f"data.revision=v2 is of the hub, but {parquet} is a folder; leave it out" in said
    assert "choose one: data.config=" in complaint(HubData(name=str(parquet), config="other"))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").touch()
    said = complaint(HubData(name=str(tmp_path / "saved")))
    assert said.endswith(f"was written by save_to_disk; read it as it is: data=shards data.root={tmp_path}/saved")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.parquet").write_text("no parquet")
    assert "bad cannot be loaded (" in complaint(HubData(name=str(tmp_path / "bad")))
