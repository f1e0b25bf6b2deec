"""Whatever form the same images come in, they are the same data: order, labels, classes, pixels, bytes, network."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.conftest import Answer, runs_of
from tests.data.own.forms import COLOURS, COUNTS, FORMS, make_photos, names, rows_of, words, write_table
from tlx.config import groups as g
from tlx.data.module import ImageModule, Views
from tlx.data.open import open_source
from tlx.data.source import SPLITS, Source, fingerprint
from tlx.data.transforms import Prepare
from tlx.learner.trainer import make_trainer
from tlx.network import model_folder
from tlx.network.inference import Classifier, predict
from tlx.preprocessing import Preprocessing

PREPARE = Prepare(Preprocessing(16, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0))
QUICK = ("case=small_similar", "trainer=cpu", "data.workers=0")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keep what datasets prepares out of the home of whoever runs this."""
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("made") / "photos")


@pytest.fixture(scope="module")
def sources(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    return {name: open_source(form(root, tmp_path_factory.mktemp(name)), 0) for name, form in FORMS.items()}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_are_the_same_data(form: str, sources: dict[str, Source]) -> None:
    folder, other = sources["folder"], sources[form]
    assert other.classes == folder.classes == tuple(COLOURS)
    assert other.notes == folder.notes == ()
    for split in SPLITS:
        one, two = folder.split(split), other.split(split)
        assert len(two.labels) == COUNTS[split] * 3
        assert two.labels.dtype == np.int64
        assert np.array_equal(one.labels, two.labels)
        assert np.array_equal(one.digests, two.digests)
        assert fingerprint(one) == fingerprint(two)
        for index in range(len(one.labels)):
            assert one.content(index) == two.content(index)
            assert np.array_equal(np.asarray(one.read(index)), np.asarray(two.read(index)))


def test_what_is_alike_can_differ(root: Path, tmp_path: Path, sources: dict[str, Source]) -> None:
    """The negative control: two rows changed about are seen."""
    rows = rows_of(root)
    rows[0], rows[1] = rows[1], rows[0]
    file = write_table(tmp_path / "t.csv", rows)
    other = open_source(g.TableData(file=str(file), root=str(root), split_column="split"), 0)
    assert fingerprint(other.train) != fingerprint(sources["folder"].train)


def test_names_tell_images_apart(sources: dict[str, Source]) -> None:
    assert names(sources["csv"]) == names(sources["parquet"]) == names(sources["folder"])
    assert names(sources["shards"])["val"][4] == "val/4 (01.png)"
    assert names(sources["hub_folder"])["val"][4] == "val/4 (val/green/01.png)"
    for source in sources.values():
        every = [name for split in names(source).values() for name in split]
        assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("form", "start"),
    [*((form, "fork") for form in FORMS), pytest.param("csv", "spawn", marks=pytest.mark.slow), ("shards", "spawn")],
)
def test_workers_read_the_same(form: str, start: str, sources: dict[str, Source]) -> None:
    images = sources[form].train
    loader = DataLoader(Views(images, PREPARE), sampler=[(0, i) for i in range(8)], num_workers=1,
                        multiprocessing_context=start)  # type: ignore[arg-type, var-annotated]  # fmt: skip
    seen = torch.cat([batch["image"] for batch in loader])
    assert torch.equal(seen, torch.stack([PREPARE(images.read(i, PREPARE.side)) for i in range(8)]))


def test_what_goes_to_a_worker_is_where_the_shards_are(root: Path, sources: dict[str, Source]) -> None:
    content = sum((root / row.image).stat().st_size for row in rows_of(root) if row.split == "train")
    images = sources["shards"].train
    assert len(pickle.dumps(images)) < content / 4
    assert pickle.loads(pickle.dumps(images)).content(3) == images.content(3)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_to_the_same_network(
    form: str, root: Path, tmp_path: Path, tlx: Callable[..., Answer]
) -> None:
    (tmp_path / "data").mkdir()
    config = FORMS[form](root, tmp_path / "data")
    answer = tlx(*QUICK, *words(config))
    assert (answer.code, answer.err) == (0, "")
    (run,) = runs_of(tmp_path)
    result = json.loads((run / "result.json").read_text())
    assert result["classes"] == list(COLOURS)
    assert result["data"] == {"shards": "shards", "hub_parquet": "hub"}.get(form, "photos")
    seen = {key: result["fingerprints"][key] for key in ("data", "model")}
    assert seen == _first.setdefault("first", seen)


_first: dict[str, dict[str, str]] = {}


# --- a class map made from train is what every split, the saved model and its predictions use ------------------------


def trained(tlx: Callable[..., Answer], config: Any, place: Path) -> tuple[dict[str, Any], Path]:
    """Train, and return the result with the model's folder."""
    answer = tlx(*QUICK, *words(config), f"hydra.run.dir={place}")
    assert answer.code == 0, answer.err
    return json.loads((place / "result.json").read_text()), place / "model"


def predictions(model: Path, config: Any) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the logits and the true class of every image, by name."""
    network, preprocessing, classes, _ = model_folder.load(model, g.TimmBackbone(name="embedded"))
    source = open_source(config, 0)
    assert source.classes == tuple(classes)
    module = ImageModule(source, Prepare(preprocessing), g.NoAugment(), 8, 0, "none", 0)
    trainer = make_trainer(g.Trainer(accelerator="cpu"))
    logits, truth = {}, {}
    for split in SPLITS:
        images = source.split(split)
        for index, row in enumerate(predict(trainer, Classifier(network), module.plain_loader(split))):
            logits[images.name(index)] = row
            truth[images.name(index)] = source.classes[images.labels[index]]
    return logits, truth


def shuffled_listings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder's entries come in another order each time, as file systems may."""
    scandir = os.scandir

    class Shuffled(list[Any]):
        def __enter__(self) -> Shuffled:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def listing(path: Any = ".") -> Shuffled:
        with scandir(path) as entries:
            found = Shuffled(entries)
        random.shuffle(found)
        return found

    monkeypatch.setattr(os, "scandir", listing)


def test_the_order_of_a_folders_entries_changes_nothing(
    root: Path, tmp_path: Path, tlx: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = trained(tlx, g.FolderData(root=str(root)), tmp_path / "one")
    shuffled_listings(monkeypatch)
    assert [e.name for e in os.scandir(root / "train" / "red")] != [e.name for e in os.scandir(root / "train" / "red")]
    two, _ = trained(tlx, g.FolderData(root=str(root)), tmp_path / "two")
    for key in ("classes", "metrics", "fingerprints"):
        assert one[key] == two[key]


def test_the_order_of_a_tables_rows_changes_no_class_and_no_prediction(
    root: Path, tmp_path: Path, tlx: Callable[..., Answer]
) -> None:
    rows = rows_of(root)
    tables = []
    for number in range(3):
        file = write_table(tmp_path / f"{number}.csv", rows)
        tables.append(g.TableData(file=str(file), root=str(root), split_column="split"))
        random.Random(number).shuffle(rows)
    results = [trained(tlx, table, tmp_path / f"run{n}") for n, table in enumerate(tables)]
    seen = [predictions(model, table) for (_, model), table in zip(results, tables, strict=True)]
    assert seen[0][1] == {row.image: row.label for row in rows}
    for (result, _), (logits, truth) in zip(results, seen, strict=True):
        assert result["classes"] == list(COLOURS)
        assert truth == seen[0][1]
        assert logits.keys() == seen[0][0].keys()
        for name in logits:  # the sums of a fit run in another order
            torch.testing.assert_close(logits[name], seen[0][0][name], rtol=1e-2, atol=1e-2)
    # One model on differently ordered tables: alike to the last bits but one.
    for table in tables[1:]:
        again, _ = predictions(results[0][1], table)
        for name in again:
            torch.testing.assert_close(again[name], seen[0][0][name])


@pytest.mark.parametrize("form", ["folder", "csv"])
def test_which_images_a_split_holds_changes_no_class(
    form: str, root: Path, tmp_path: Path, tlx: Callable[..., Answer]
) -> None:
    """Every split takes over another's images: the same classes, under the same numbers, everywhere."""
    turned = tmp_path / "turned"
    turned.mkdir()
    for old, new in (("train", "test"), ("val", "train"), ("test", "val")):
        shutil.copytree(root / old, turned / new)
    results = [trained(tlx, FORMS[form](at, tmp_path), tmp_path / f"{form}_{at.name}") for at in (root, turned)]
    for (result, model), at in zip(results, (root, turned), strict=True):
        assert result["classes"] == list(COLOURS)
        _, truth = predictions(model, FORMS[form](at, tmp_path))
        assert all(Path(name).parent.name == label for name, label in truth.items())
    assert results[0][0]["images"]["train"] == results[1][0]["images"]["test"]
