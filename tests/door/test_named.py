"""What Hydra would import is looked at before it does: names are compared as a whole, wherever they come from."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from tlx.door.named import must_be_known
from tlx.errors import InputError

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def handler(**of: Any) -> dict[str, Any]:
    return {"job_logging": {"handlers": {"x": of}}}


@pytest.mark.parametrize(
    "parts",
    [
        {"callbacks": {"x": {"_target_": "os.system"}}},
        {"callbacks": {"x": {"_target_": "tlx.door.sweep.re.sys.exit"}}},
        {"callbacks": {"x": {"_target_": "hydra_plugins.nowhere.Callback"}}},
        {"callbacks": {"x": {"y": [{"_target_": "os.system"}]}}},
        {"callbacks": {"x": {"_target_": 3}}},
        {"callbacks": "${own}"},
        {"callbacks": {"x": "${own.y}"}},
        {"callbacks": {"x": "${oc.create:${own}}"}},
        {"callbacks": {"x": "${nowhere}"}},
        {"launcher": {"_target_": "hydra_plugins.nowhere.Launcher"}},
        {"launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.logging.os.system"}},
        {"launcher": {"_target_": BASIC, "x": {"_target_": BASIC}}},
        {"sweeper": {"_target_": BASIC}},
        handler(**{"()": "logging.os.system"}),
        handler(**{"class": "logging.handlers.QueueHandler"}),
        handler(stream="ext://sys.modules"),
        handler(stream="${half}t://os.system"),
    ],
)
def test_what_belongs_elsewhere_is_refused(parts: dict[str, Any]) -> None:
    config = OmegaConf.create({"own": {"y": {"_target_": "os.system"}}, "half": "ex", "hydra": parts})
    with pytest.raises(InputError, match=r"^hydra\.\w+.* names what would be run"):
        must_be_known(config)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"callbacks": None},
        {"callbacks": {"x": {"_target_": "tlx.door.sweep.SweepStart"}}},
        {"launcher": {"_target_": BASIC, "name": "${hydra.job.name}", "folder": "${hydra.sweep.dir}/x"}},
        {"sweeper": {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None}},
        {"sweeper": {"sampler": {"_target_": "optuna.samplers.TPESampler"}}},
        handler(**{"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}),
        handler(**{"class": "logging.FileHandler", "filename": "${hydra.runtime.output_dir}/x.log"}),
    ],
)
def test_what_belongs_there_is_taken(parts: dict[str, Any]) -> None:
    must_be_known(OmegaConf.create({"hydra": {"job": {"name": "???"}, **parts}}))
