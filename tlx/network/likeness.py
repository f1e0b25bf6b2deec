"""Likeness: what weights look like that do not fit, by what the families of networks call theirs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

# As timm, torchvision and Hugging Face's transformers do.
FAMILIES = (
    (r"(^|\.)vit\.encoder\.layer\.\d|vision_model\.encoder", "a vision transformer of the transformers library"),
    (r"(^|\.)layers\.\d+\.blocks\.\d+\.att(n|ention)\.|features\.\d+\.\d+\.attn\.", "a Swin transformer"),
    (r"(^|\.)blocks\.\d+\.attn\.qkv|encoder_layer_\d+\.self_attention", "a vision transformer"),
    (r"(^|\.)stages\.\d+\.blocks\.\d+\.(conv_dw|gamma)|features\.\d+\.\d+\.layer_scale", "a ConvNeXt"),
    (r"denseblock\d+\.denselayer", "a DenseNet"),
    (r"(^|\.)blocks\.\d+\.\d+\.(conv_pw|conv_dw)|features\.\d+\.\d+\.block\.\d+", "an EfficientNet or a MobileNet"),
    (r"(^|\.)s[1-4]\.b\d+\.conv\d|trunk_output\.block", "a RegNet"),
    (r"(^|\.)layer[1-4]\.\d+\.conv[123]\.", "a ResNet"),
    (r"(^|\.)features\.\d+\.squeeze\.", "a SqueezeNet"),
    (r"(^|\.)features\.\d+\.weight$", "a VGG or an AlexNet"),
)


def alike(names: list[str]) -> str:
    """Say what weights look like, by what the families of networks call theirs."""
    family = next((words for rule, words in FAMILIES if any(re.search(rule, name) for name in names)), None)
    return f"it looks like {family} ({some(names)})" if family else f"it begins with {some(names)}"


def prefixed(wanted: list[str], found: list[str]) -> str:
    """Say that the names would fit without what stands before all of them, where they would."""
    mine = set(wanted)
    cuts = ((name, dot.end()) for name in found for dot in re.finditer(r"\.", name))
    befores = Counter(name[:end] for name, end in cuts if name[end:] in mine)
    before, fitting = max(befores.items(), key=lambda item: item[1], default=("", 0))
    fit = 2 * fitting > len(wanted)
    return f"the names fit without {before!r} before them: save the file again without it" if fit else ""


def some(names: Iterable[str]) -> str:
    """Name the first few of some names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
