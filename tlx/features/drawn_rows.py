"""DrawnRows: rows of a bank, read a batch at once, as a training by gradient descent wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from tlx.data.module import Batch
from tlx.data.order import Key
from tlx.features.bank import Bank


class DrawnRows(Dataset[Batch]):
    """Batches of a bank's rows, by (epoch, index) pairs; of several views of an image, every epoch reads the next."""

    def __init__(self, bank: Bank, images: int) -> None:
        self.bank = bank
        self.images = images
        self.views = len(bank.labels) // images

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, keys: Sequence[Key]) -> Batch:
        epochs, index = np.array(keys).T
        rows = self.bank.features[epochs % self.views * self.images + index]
        labels = torch.from_numpy(self.bank.labels[index])
        return {"image": torch.from_numpy(rows), "label": labels, "index": torch.from_numpy(index)}
