"""Watch: the first loss that is not finite, found without waiting for the device; weights that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from tlx.errors import NumericalError

MEND = "lower optimizer.lr, or set trainer.precision=32; the last good checkpoint is kept"
EVERY = 50  # steps between two looks, where a look waits for the device


class LossWatch:
    """Ends a training whose loss is NaN or infinite, and names the epoch and the batch where that began.

    On a CPU it looks at every step. On another device the first bad step is kept there, and looked for every so many
    steps, at the end of an epoch and before anything is saved: no checkpoint is written after such a loss.
    """

    def __init__(self, every: int | None = None) -> None:
        self.every = every  # None: as above
        self.epoch, self.seen = 0, 0
        self._first: torch.Tensor | None = None  # (batch, loss) of the first bad step; before, batch -1

    def see(self, loss: torch.Tensor, epoch: int, batch: int) -> None:
        """Take in the loss of a step.

        Raises:
            NumericalError: It is time to look, and a loss was not finite.
        """
        self.epoch, self.seen = epoch, self.seen + 1
        every = self.every or (1 if loss.device.type == "cpu" else EVERY)
        if every == 1:
            if not math.isfinite(value := float(loss.detach())):
                raise _error(value, epoch, batch)
            return
        number = loss.detach().float()
        if self._first is None:
            self._first = torch.tensor([-1.0, 0.0], device=loss.device)
        here = torch.stack([torch.full_like(number, batch), number])
        self._first = torch.where((self._first[0] >= 0) | number.isfinite(), self._first, here)
        if self.seen % every == 0:
            self.look()

    def look(self) -> None:
        """Raise a NumericalError where a loss was not finite, in any process: all of them look at the same moments."""
        if self._first is None:
            return
        batch, loss = self._first.tolist()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            anywhere = self._first[:1].clone()
            torch.distributed.all_reduce(anywhere, torch.distributed.ReduceOp.MAX)
            if batch < 0:
                batch, loss = float(anywhere), math.nan
        if batch >= 0:
            raise _error(loss, self.epoch, int(batch))


def validated(loss: float, epoch: int) -> float:
    """Return a validation loss that is finite; all processes see the same one.

    Raises:
        NumericalError: It is not.
    """
    if not math.isfinite(loss):
        raise NumericalError(f"the validation loss is {loss} after epoch {epoch}", MEND)
    return loss


def finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether all values are finite; the device is waited for once."""
    norms = [torch.linalg.vector_norm(t.detach().float(), torch.inf) for t in tensors if t.numel()]
    return not norms or bool(torch.stack(norms).isfinite().all())


def _error(loss: float, epoch: int, batch: int) -> NumericalError:
    return NumericalError(f"the loss is {loss} in epoch {epoch}, batch {batch}", MEND)
