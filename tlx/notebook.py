"""Notebook: training and predicting from Python, as the command line does it; errors are raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.__main__ import compose
from tlx.door.arguments import prepare
from tlx.errors import InputError
from tlx.results.run_folder import RunFolder
from tlx.storage import read_json

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import nn

    from tlx.config.roots import OwnBackbone
    from tlx.network.model_folder import Model
    from tlx.verbs.finished import Finished

    OneImage = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What a run's network says of an image.

    ``image`` is its path, or its number among those that were given. Of an image that cannot be read, ``error`` says
    why, there is no class, and ``probabilities`` is empty; else they are of all classes, the likeliest first.
    """

    image: str
    predicted: str | None
    probability: float | None
    probabilities: dict[str, float]
    error: str = ""


class Run:
    """A finished run; its network is read when it is first asked for.

    ``target`` and ``kwargs`` name the code of a network of your own, as ``backbone.target`` does: no run folder does.
    """

    def __init__(self, folder: str | Path, target: str | None = None, kwargs: Mapping[str, Any] | None = None) -> None:
        self.folder = RunFolder.open(str(folder)).path
        self._own = (target, dict(kwargs) if kwargs else None)

    @cached_property
    def result(self) -> dict[str, Any]:
        """What ``result.json`` holds: metrics, counts, seconds, versions, fingerprints."""
        result: dict[str, Any] = read_json(RunFolder(self.folder).result)
        return result

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the network's outputs."""
        return list(self._model.classes)

    @property
    def network(self) -> nn.Module:
        """The trained network in eval mode: normalised images (N, 3, S, S) to logits (N, number of classes)."""
        return self._model.network

    def predict(
        self, images: OneImage | Sequence[OneImage], tta: str = "none", batch_size: int = 64
    ) -> list[Prediction]:
        """Name the classes of images.

        Args:
            images: One or several: paths, Pillow's images, or arrays (H, W, 3) uint8. One path may also be a folder, a
                pattern or a table, as ``images=`` on the command line.
            tta: ``none``, ``flip`` or ``crops``: views of an image whose probabilities are averaged.
            batch_size: How many are computed at once.

        Raises:
            InputError: Something that is no image, a path that does not exist, an unknown ``tta``.
        """
        from tlx.config.check import check
        from tlx.config.groups import Trainer
        from tlx.config.roots import PredictConfig
        from tlx.data.handed import handed
        from tlx.results.answers import Answer
        from tlx.results.log import logged
        from tlx.verbs.finished import trainer_for
        from tlx.verbs.predict import Asked, answer_all

        plain = {"trainer": Trainer(devices=1), "run": str(self.folder), "images": "", "tta": tta}
        config = check({**plain, "batch_size": batch_size}, PredictConfig)
        given, classes, found = handed(images), self.classes, list[Prediction]()

        def take(answer: Answer) -> None:
            for index, wrong, best, shares in answer.rows():
                if wrong:
                    found.append(Prediction(given.name(index), None, None, {}, wrong))
                    continue
                likely = {classes[number]: share for number, share in zip(best, shares, strict=True)}
                found.append(Prediction(given.name(index), classes[best[0]], shares[0], likely))

        with logged(None):
            how = Asked(len(classes), config.tta, batch_size=config.batch_size, workers=0)
            answer_all(self._model, given, how, trainer_for(config.trainer, self._finished), take, range(len(given)))
        return found

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def _finished(self) -> Finished:
        from tlx.config.roots import OwnBackbone
        from tlx.verbs.finished import open_finished

        return open_finished(str(self.folder), OwnBackbone(*self._own))

    @property
    def _model(self) -> Model:
        return self._finished.model


def load(run: str | Path, target: str | None = None, kwargs: Mapping[str, Any] | None = None) -> Run:
    """Load a finished run from its folder; see ``Run``.

    Raises:
        InputError: No run there, or one that is not finished.
    """
    loaded = Run(run, target, kwargs)
    _ = loaded.network  # whatever is wrong is told here
    return loaded


def train(*overrides: str) -> Run:
    """Train as ``python -m tlx OVERRIDES`` does: ``train("case=small_similar", "seed=1")``.

    Raises:
        TlxError: Whatever a person can mend.
        KeyboardInterrupt: Interrupted where nothing could be saved.
    """
    result, own = _performed("train", overrides)
    return load(result["run_dir"], own.target, own.kwargs)


def advise(*overrides: str) -> dict[str, Any]:
    """Say which case is yours, as ``python -m tlx advise OVERRIDES`` does; return what ``advice.json`` holds.

    Raises:
        TlxError: Whatever a person can mend.
        KeyboardInterrupt: Interrupted.
    """
    return _performed("advise", overrides)[0]


def _performed(verb: str, overrides: Sequence[str]) -> tuple[dict[str, Any], OwnBackbone]:
    """Run a verb; return what it returns, and whose code its network is."""
    for word in overrides:
        if word.startswith("-"):
            raise InputError(f"{word} is for the command line", "one at a time, with KEY=VALUE words")
    from tlx.door.apart import apart  # Hydra comes with it

    results: list[dict[str, Any]] = []
    own: list[OwnBackbone] = []
    failed: list[BaseException] = []  # to be raised when Hydra has ended, which would print a line of its own

    def job(config: Any) -> None:
        from tlx.door.job import own_backbone, perform

        own.append(own_backbone(config))
        try:
            results.append(perform(verb, config, list(overrides)))
        except BaseException as error:
            failed.append(error)

    with apart():
        compose(verb, prepare(verb, list(overrides)), job)
    for error in failed:
        if isinstance(error, SystemExit):  # what Lightning makes of an interruption
            raise KeyboardInterrupt from error
        raise error
    return results[0], own[0]


__all__ = ["Prediction", "Run", "advise", "load", "train"]
