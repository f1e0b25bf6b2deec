"""``pretrain``: train a backbone from random weights on a source task, and write its trunk for later transfers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlx.config.roots import PretrainConfig
from tlx.errors import InputError
from tlx.network import model_folder
from tlx.results.clock import Clock
from tlx.results.console import console, say
from tlx.results.run_folder import RunFolder
from tlx.storage import write_json, write_tensors
from tlx.verbs.train import train


def pretrain(config: PretrainConfig, folder: RunFolder, clock: Clock, command: str) -> dict[str, Any]:
    """Train as the config says, then write ``output`` (safetensors, timm's names) and, beside it, its recipe.

    Raises:
        InputError: An output that is no safetensors file, or whose folder is missing.
    """
    output = Path(config.output).expanduser().absolute()
    if output.suffix != ".safetensors" or not output.parent.is_dir():
        what = f"output={output} is no .safetensors file in an existing folder"
        raise InputError(what, "give output=FILE.safetensors")
    result = train(config, folder, clock, command)
    if not result:
        return result
    network, _, _, _ = model_folder.load(folder.model, config.backbone)
    write_tensors(output, network.trunk.model.state_dict())
    told = ("backbone", "metrics", "images", "seconds", "fingerprints", "versions", "config")
    recipe = {key: result[key] for key in told}
    for split in recipe["metrics"].values():
        del split["confusion_matrix"]
    recipe["config"] = {key: value for key, value in recipe["config"].items() if key != "output"}
    write_json(output.with_suffix(".json"), {"command": "python -m tlx pretrain output=FILE", **recipe})
    say(console(), "weights", f"{output}, its recipe beside it")
    return result
