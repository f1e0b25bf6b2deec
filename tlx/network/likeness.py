"""Likeness: what weights look like that do not fit, by what the families of networks call theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable

# As timm, torchvision and Hugging Face's transformers do.
FAMILIES = (
    (r"(^|\.)vit\.encoder\.layer\.\d|vision_model\.encoder", "a vision transformer of the transformers library"),
    (r"relative_position_bias_table|(^|\.)layers\.\d+\.blocks\.\d+\.attn", "a Swin transformer"),
    (r"(^|\.)blocks\.\d+\.attn\.qkv|encoder_layer_\d+\.self_attention", "a vision transformer"),
    (r"(^|\.)stages\.\d+\.blocks\.\d+\.(conv_dw|gamma)", "a ConvNeXt"),
    (r"denseblock\d+\.denselayer", "a DenseNet"),
    (r"(^|\.)blocks\.\d+\.\d+\.(conv_pw|conv_dw)|features\.\d+\.\d+\.block\.\d+", "an EfficientNet or a MobileNet"),
    (r"(^|\.)s[1-4]\.b\d+\.conv\d|trunk_output\.block", "a RegNet"),
    (r"(^|\.)layer[1-4]\.\d+\.conv[123]\.", "a ResNet"),
    (r"^features\.\d+\.weight$", "a VGG or an AlexNet"),
)


def alike(names: list[str]) -> str:
    """Say what weights look like, by what the families of networks call theirs."""
    family = next((words for rule, words in FAMILIES if any(re.search(rule, name) for name in names)), None)
    return f"it looks like {family} ({some(names)})" if family else f"it begins with {some(names)}"


def prefixed(wanted: list[str], found: list[str]) -> str:
    """Say that the names would fit without what stands before all of them, where they would."""
    first = sorted(wanted)[0] if wanted else ""
    for before in {name.removesuffix(first) for name in found if first and name.endswith(f".{first}")}:
        if 2 * sum(f"{before}{name}" in found for name in wanted) > len(wanted):
            return f"the names fit without {before!r} before them: save the file again without it"
    return ""


def some(names: Iterable[str]) -> str:
    """Name the first few of some names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
