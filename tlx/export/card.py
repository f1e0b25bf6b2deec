"""Card: the README.md beside an export, with the metadata that Hugging Face's hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tlx import __version__
from tlx.export.parity import Parity
from tlx.export.subject import Subject
from tlx.export.usage import INSTALL, usage

LIBRARIES = {"onnx": "onnx", "torch_export": "pytorch", "timm": "timm", "safetensors": "tlx"}
INSIDE = {
    "onnx": "Raw pixels in, probabilities out: resizing, cropping, scaling, normalisation and temperature are inside.",
    "torch_export": "Raw pixels in, probabilities out: resizing, cropping, scaling, normalisation and temperature are "
    "inside.",
    "timm": "A plain timm model. Its logits are the network's own; the temperature, which timm does not know, stands "
    "in `config.json` and divides them.",
    "safetensors": "Weights, and a description in plain JSON from which tlx builds the network again.",
}
SPLITS = ("train", "val", "test")
TOLD = ("case", "backbone", "init", "cut", "freeze", "head", "seed")  # not the command: it holds paths of a machine


def card(format: str, subject: Subject, result: Mapping[str, Any], parity: Parity, reader: str, note: str) -> str:
    """Write the card. Names come from the user's folders and files: nothing of them is markup, metadata or code."""
    _, seen, classes, temperature = subject.model
    title = f"{result['backbone']} on {result['data']}"
    return f"""---
{_metadata(format, result)}---

# {_plain(title)}

An image classifier of {len(classes):,} classes: {_code(result["backbone"])}, trained on {_code(result["data"])} with
tlx {__version__} and exported as `{format}`. {INSIDE[format]}

## Use

```bash
{INSTALL[format]}
```

```python
{usage(format, seen.least)}
```

It takes {note}.

## Accuracy

Measured by the run that trained it; test images were touched once, at its end.

{_accuracy(result)}

## Checked

{parity.words[0].upper() + parity.words[1:]} (this export by {reader}, against PyTorch and Pillow in tlx).

## Preprocessing

The short side becomes {seen.side} pixels ({seen.interpolation}, antialiased, as Pillow does it), of which the centre
{seen.image_size} x {seen.image_size} is cropped; levels are divided by 255, then normalised with mean
{_numbers(seen.mean)} and standard deviation {_numbers(seen.std)}. Probabilities are softmax(logits / temperature),
temperature {temperature:.6g}.

## Training

{_training(result)}

## Classes

By their index in the output.

```text
{_listed(classes)}
```
"""


def _metadata(format: str, result: Mapping[str, Any]) -> str:
    """Return YAML without a license, which only the owner of the images and weights can choose."""
    data = _plain(result["data"])
    test = result["metrics"]["test"]
    metrics = [
        {"type": kind, "name": name, "value": round(test[key], 6)}
        for kind, name, key in (
            ("accuracy", "accuracy", "accuracy"),
            ("f1", "macro F1", "macro_f1"),
            ("balanced_accuracy", "balanced accuracy", "balanced_accuracy"),
        )
    ]
    measured = {
        "task": {"type": "image-classification"},
        "dataset": {"name": data, "type": re.sub(r"\W+", "-", data.lower()).strip("-") or "images", "split": "test"},
        "metrics": metrics,
    }
    plain = {
        "library_name": LIBRARIES[format],
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", "tlx", format],
        "metrics": ["accuracy"],
        "model-index": [{"name": f"{_plain(result['backbone'])} on {data}", "results": [measured]}],
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=False)


def _accuracy(result: Mapping[str, Any]) -> str:
    rows = [
        "| split | images | accuracy | balanced | macro F1 | loss | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    for split in SPLITS:
        found = result["metrics"][split]
        names = ("accuracy", "balanced_accuracy", "macro_f1", "loss", "calibration_error")
        values = " | ".join(f"{found[name]:.4f}" for name in names)
        rows.append(f"| {split} | {result['images'][split]:,} | {values} |")
    return "\n".join(rows)


def _training(result: Mapping[str, Any]) -> str:
    rows = [f"- {name}: {_code(result[name])}" for name in TOLD if result.get(name) is not None]
    if cut := result.get("surgery", {}).get("cut"):
        rows.append(f"- the network ends {_code(cut)}")
    counts = result["parameters"]
    rows.append(f"- parameters: {counts['trained']:,} trained, {counts['frozen']:,} frozen")
    rows.append(f"- seconds: {result['seconds']['total']:.1f}")
    rows += [f"- {name}: {_code(version)}" for name, version in result["versions"].items()]
    return "\n".join(rows)


def _listed(classes: list[str]) -> str:
    """List names, one a line behind its number, so that no name can begin a line and end the block."""
    wide = len(str(len(classes) - 1))
    return "\n".join(f"{index:>{wide}}  {_plain(name)}" for index, name in enumerate(classes))


def _plain(text: object) -> str:
    """Write a text on one line, whatever it holds: what cannot be printed is escaped, and so is markup."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
    return re.sub(r"[<>`\[\]]", lambda found: f"\\u{ord(found[0]):04x}", shown)


def _code(text: object) -> str:
    return f"`{_plain(text)}`"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
