"""Loggers: where else a run's figures go, besides its own folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from tlx.config.groups import CsvLogger, MlflowLogger, TensorboardLogger
from tlx.config.groups import WandbLogger as WandbConfig
from tlx.errors import InputError, MachineError

log = logging.getLogger("tlx")

AnyLogger = CsvLogger | TensorboardLogger | MlflowLogger | WandbConfig


def open_logger(config: AnyLogger, folder: Path, settings: Mapping[str, Any]) -> Logger | None:
    """Open the logger of a run; ``metrics.csv`` needs none. ``settings`` are the run's, to be found by.

    Raises:
        InputError: Its package is not installed.
        MachineError: Its server cannot be reached.
    """
    if isinstance(config, CsvLogger):
        return None
    try:
        logger = _opened(config, folder)
        logger.log_hyperparams(_flat(settings))
    except ModuleNotFoundError:
        raise InputError(f"logger={config.kind} is not installed", f"pip install 'tlx[{config.kind}]'") from None
    except Exception as error:  # whatever a client raises about its server
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = f"logger={config.kind} cannot be opened: {reason}"
        raise MachineError(what, "check its server and your account, or leave it out: logger=csv") from None
    return logger


def _opened(config: AnyLogger, folder: Path) -> Logger:
    if isinstance(config, TensorboardLogger):
        return TensorBoardLogger(folder, name="", version="tensorboard")
    if isinstance(config, MlflowLogger):
        given = config.uri or os.environ.get("MLFLOW_TRACKING_URI")
        place = given or f"sqlite:///{folder.parent / 'mlflow.db'}"
        files = None if given else (folder.parent / "mlflow").as_uri()
        return MLFlowLogger(config.experiment, folder.name, place, artifact_location=files)
    assert isinstance(config, WandbConfig)
    return WandbLogger(project=config.project, name=folder.name, save_dir=folder)


def conclude(logger: Logger, metrics: Mapping[str, Any], pictures: Mapping[str, Path]) -> None:
    """Hand over the final metrics, by split, and the pictures there are (name to PNG); then close."""
    final = {f"{split}/{name}": v for split, of in metrics.items() for name, v in of.items() if isinstance(v, float)}
    logger.log_metrics({f"final/{name}": value for name, value in final.items()})
    there = {name: path for name, path in pictures.items() if path.is_file()}
    if isinstance(logger, TensorBoardLogger):
        for name, path in there.items():
            logger.experiment.add_image(name, _pixels(path), dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        for path in there.values():
            logger.experiment.log_artifact(logger.run_id, str(path))
    elif isinstance(logger, WandbLogger):
        logger.log_image("pictures", [str(path) for path in there.values()], caption=list(there))
        logger.experiment.finish()
    logger.finalize("success")


def _pixels(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Name nested settings by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{before}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
