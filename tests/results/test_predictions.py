"""What a run said of every image can be read back from its table, whatever images and classes are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tlx.errors import InputError
from tlx.results.predictions import COLUMNS, predicted, read, write

CLASSES = ["=1+1", "'=1+1", "<script>alert(1)</script>", "two\nlines", "\udcff"]


class Odd:
    def name(self, index: int) -> str:
        return f'{CLASSES[index % 5]}/{index},"\udcfe.jpg'


def some(count: int, seed: int = 0, temperature: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 5, generator=generator) * 4
    return predicted(Odd(), torch.arange(count) % 5, logits, temperature), logits


def test_predictions_are_read_back(tmp_path: Path) -> None:
    val, test = some(7)[0], some(11, 1, 3.0)[0]
    write(tmp_path / "p.csv", {"val": val, "test": test}, CLASSES)
    again = read(tmp_path / "p.csv", CLASSES)
    assert list(again) == ["val", "test"]
    for split, one in (("val", val), ("test", test)):
        assert again[split].names == one.names
        assert np.array_equal(again[split].labels, one.labels)
        assert np.array_equal(again[split].predicted, one.predicted)
        assert np.array_equal(again[split].right, one.right)
        np.testing.assert_allclose(again[split].probability, one.probability, atol=5e-7)
        np.testing.assert_allclose(again[split].label_probability, one.label_probability, atol=5e-7)


def test_probabilities_are_those_at_the_temperature() -> None:
    one, logits = some(9, temperature=2.5)
    shares = (logits / 2.5).softmax(1)
    np.testing.assert_allclose(one.probability, shares.amax(1).numpy(), rtol=1e-6)
    assert np.array_equal(one.predicted, logits.argmax(1).numpy())  # which a temperature does not change
    np.testing.assert_allclose(one.label_probability, shares[range(9), one.labels].numpy(), rtol=1e-6)
    assert one.right.any()
    assert not one.right.all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("split,image\nval,a\n", "damaged"),
        (",".join(COLUMNS) + "\nval,a,other,other,1,1\n", "other"),
        (",".join(COLUMNS) + "\nval,a,=1+1,=1+1,much,1\n", "much"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        read(tmp_path / "p.csv", CLASSES)
    with pytest.raises(InputError, match="no file"):
        read(tmp_path / "none.csv", CLASSES)
