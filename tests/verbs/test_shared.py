"""Real photographs and real ImageNet weights: what the README says of them. Skipped where they are not at hand.

``TLX_SHARED`` names a folder with ``data/hymenoptera`` and ``weights/mobilenetv1_100...safetensors``; by default the
folder ``shared`` beside the checkout.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

from tests.conftest import Answer
from tests.export.card_code import check_against_run
from tlx.config.groups import FolderData, ShardsData, TableData
from tlx.data.open import open_source
from tlx.data.source import SPLITS

SHARED = Path(os.environ.get("TLX_SHARED", Path(__file__).resolve().parents[3] / "shared"))
WEIGHTS = SHARED / "weights" / "mobilenetv1_100.imagenet.upto_blocks_4_0.safetensors"
PHOTOS = SHARED / "data" / "hymenoptera"
PUBLISHED = {"blocks.4.0": 0.94, "blocks.3.5": 0.92, "blocks.3.2": 0.87, "blocks.2.1": 0.82, "blocks.1.1": 0.77}

pytestmark = [pytest.mark.shared, pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"no {WEIGHTS}")]


def test_hymenoptera_by_cut(tlx: Callable[..., Answer], tmp_path: Path) -> None:
    words = ("-m", "case=small_similar", "backbone=mobilenetv1", f"init.file={WEIGHTS}", "data=folder")
    cuts = ("cut=layer", f"cut.name={','.join(PUBLISHED)}", "seed=0,1,2")
    assert tlx(*words, f"data.root={PHOTOS}", *cuts, "hydra.sweep.dir=sweep").code == 0
    found: dict[str, list[float]] = {name: [] for name in PUBLISHED}
    with (tmp_path / "sweep" / "comparison.csv").open() as file:
        for row in csv.DictReader(file):
            name = next(word for word in row["overrides"].split() if word.startswith("cut.name=")).partition("=")[2]
            found[name].append(float(row["test_accuracy"]))
    means = [statistics.mean(values) for values in found.values()]
    assert means[0] >= 0.93
    assert means == sorted(means, reverse=True)
    assert all(abs(mean - near) <= 0.025 for mean, near in zip(means, PUBLISHED.values(), strict=True))


def test_a_cut_behind_the_files_end_is_refused(tlx: Callable[..., Answer]) -> None:
    words = ("case=small_similar", "backbone=mobilenetv1", f"init.file={WEIGHTS}", "data=folder", f"data.root={PHOTOS}")
    answer = tlx(*words, "cut=head")
    assert answer.code == 2
    assert "lacks weights inside what the cut keeps: blocks.4.1" in answer.err


def test_photographs_with_a_stray_gif_and_a_jpeg_train(tlx: Callable[..., Answer], tmp_path: Path) -> None:
    words = ("case=small_similar", "backbone=mobilenetv1", f"init.file={WEIGHTS}", "data=folder", f"data.root={PHOTOS}")
    answer = tlx(*words, "cut=layer", "cut.name=blocks.4.0", "data.scan=full", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    facts = json.loads((tmp_path / "run" / "data.json").read_text())
    assert facts["skipped"] == {".gif": 1}
    assert (facts["images"], facts["bad"], facts["modes"]) == (397, [], {"RGB": 397})
    jpeg = next(PHOTOS.rglob("*.jpeg")).relative_to(PHOTOS)
    source = open_source(FolderData(root=str(PHOTOS)), 0)
    assert str(jpeg) in {i.name(k) for i in (source.train, source.val, source.test) for k in range(len(i.labels))}
    assert json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]["test"]["accuracy"] > 0.9


def test_onnxruntime_alone_gives_the_runs_accuracy(tlx: Callable[..., Answer], tmp_path: Path) -> None:
    """From the image files, by the card's own code, in a process without torch."""
    words = ("case=small_similar", "backbone=mobilenetv1", f"init.file={WEIGHTS}", "data=folder", f"data.root={PHOTOS}")
    assert tlx(*words, "cut=layer", "cut.name=blocks.4.0", "trainer.precision=32", "hydra.run.dir=run").code == 0
    for format in ("onnx", "torch_export"):
        answer = tlx("export", "run=run", f"format={format}")
        assert answer.code == 0, answer.err
        assert "parity    64 test images" in answer.out
        assert "all labels agree" in answer.out
    check_against_run(tmp_path / "run", "onnx", PHOTOS.joinpath)
    check_against_run(tmp_path / "run", "torch_export", PHOTOS.joinpath, every=10)
    assert tlx("export", "run=run", "format=timm").code == 2


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cifar")
    with tarfile.open(SHARED / "data" / "cifar10.tar.xz") as archive:
        archive.extractall(root)  # a file of our own; the first releases of Python 3.10 know no filter
    return root


def test_cifar_is_the_same_as_folder_table_and_shards(tlx: Callable[..., Answer], tmp_path: Path, cifar: Path) -> None:
    paths = {split: sorted((cifar / split).rglob("*.jpg")) for split in ("train", "test")}
    with (tmp_path / "cifar.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "split"])
        rows.writerows([p.relative_to(cifar), p.parent.name, s] for s, listed in paths.items() for p in listed)
    datasets.disable_progress_bars()
    shards = datasets.load_dataset("imagefolder", data_dir=str(cifar), cache_dir=str(tmp_path / "cache"))
    shards.save_to_disk(str(tmp_path / "shards"))
    configs = (
        FolderData(root=str(cifar)),
        TableData(file=str(tmp_path / "cifar.csv"), root=str(cifar), split_column="split"),
        ShardsData(root=str(tmp_path / "shards")),
    )
    folder, *others = (open_source(config, 0) for config in configs)
    assert [len(folder.split(split).labels) for split in SPLITS] == [42_500, 7_500, 10_000]
    for other in others:
        assert other.classes == folder.classes
        for split in SPLITS:
            one, same = folder.split(split), other.split(split)
            assert np.array_equal(one.labels, same.labels)
            assert np.array_equal(one.digests, same.digests)
            for index in range(0, len(one.labels), 1 if split == "test" else 10):
                assert np.array_equal(np.asarray(one.read(index)), np.asarray(same.read(index)))
    words = ("case=small_different", "backbone=mobilenetv1", f"init.file={WEIGHTS}", "cut=layer", "cut.name=blocks.2.1")
    accuracy = []
    for data in (
        ("data=folder", f"data.root={cifar}"),
        ("data=table", f"data.file={tmp_path / 'cifar.csv'}", f"data.root={cifar}", "data.split_column=split"),
        ("data=shards", f"data.root={tmp_path / 'shards'}"),
    ):
        run = ("data.per_class=20", "data.image_size=64", f"hydra.run.dir={data[0]}", "features.profile_up_to=0")
        answer = tlx(*words, *data, *run)
        assert answer.code == 0, answer.err
        result = json.loads((tmp_path / data[0] / "result.json").read_text())
        accuracy.append((result["metrics"]["test"]["accuracy"], result["fingerprints"]["model"]))
    assert len(set(accuracy)) == 1
    assert accuracy[0][0] > 0.3
