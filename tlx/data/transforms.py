"""Transforms: how an image becomes the network's input, for testing and for training."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_modes_mapping

from tlx.config.groups import LightAugment, NoAugment, StandardAugment, StrongAugment
from tlx.errors import InputError
from tlx.preprocessing import Normalise, Preprocessing
from tlx.randomness import seed_for

Augment = NoAugment | LightAugment | StandardAugment | StrongAugment


class Prepare:
    """Turns an image into a network's input, as ``seen`` says: to a tensor (3, S, S) float32."""

    def __init__(self, seen: Preprocessing) -> None:
        self.seen = seen
        self.image_size, self.side, self.least = seen.image_size, seen.side, seen.least
        self.mode = v2.InterpolationMode(seen.interpolation)
        self.resampling = pil_modes_mapping[self.mode]
        self.fill = [round(255 * value) for value in seen.mean]  # what an image leaves empty has the mean colour
        self._normalise = Normalise(seen)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Prepare one image."""
        return self.normalise(self.sized(image))

    def sized(self, image: Image.Image) -> Image.Image:
        """Resize and crop an image."""
        resized = v2.functional.resize(image, [self.side], interpolation=self.mode)
        cropped: Image.Image = v2.functional.center_crop(resized, [self.image_size])
        return cropped

    def normalise(self, image: Image.Image) -> torch.Tensor:
        """Turn an image of the right size into normalised pixels."""
        normalised: torch.Tensor = self._normalise(v2.functional.pil_to_tensor(image))
        return normalised


def _pair(name: str, values: list[float]) -> tuple[float, float]:
    if len(values) != 2 or not 0 < values[0] <= values[1]:
        raise InputError(f"augment.{name}={values} is no range", "give two numbers above 0, the smaller one first")
    return values[0], values[1]


class Draw:
    """A random view of an image: a function of (seed, epoch, index) and of nothing else."""

    def __init__(self, prepare: Prepare, augment: Augment, seed: int) -> None:
        self.prepare = prepare
        self.augment = augment
        self.seed = seed
        self.side, self.least = prepare.side, prepare.least
        self.steps: list[v2.Transform] = []
        self.erase: v2.Transform | None = None
        if not isinstance(augment, NoAugment):
            scale, ratio = _pair("scale", augment.scale), _pair("ratio", augment.ratio)
            self.side = self.least = math.ceil(prepare.image_size / math.sqrt(scale[0]))  # the smallest crop's
            self.steps.append(v2.RandomResizedCrop(prepare.image_size, scale, ratio, prepare.mode))
        if isinstance(augment, StandardAugment):
            self.steps.append(v2.RandomHorizontalFlip(augment.flip))
            self.steps.append(v2.ColorJitter(augment.jitter, augment.jitter, augment.jitter))
        if isinstance(augment, StrongAugment):
            self.steps.append(v2.RandomHorizontalFlip(augment.flip))
            self.steps.append(_policy(augment, prepare))
            self.erase = v2.RandomErasing(augment.erase)  # blanked: the mean colour

    def __call__(self, image: Image.Image, epoch: int, index: int) -> torch.Tensor:
        """Prepare the view of one image in one epoch."""
        if not self.steps:
            return self.prepare(image)
        # The CPU's generator alone: torch.manual_seed asks every kind of device, which costs as much as the transforms.
        generator = torch.default_generator
        state = generator.get_state()
        generator.manual_seed(seed_for(self.seed, "augment", epoch, index))
        try:
            for step in self.steps:
                image = step(image)
            pixels = self.prepare.normalise(image)
            return self.erase(pixels) if self.erase else pixels
        finally:
            generator.set_state(state)


def _policy(augment: StrongAugment, prepare: Prepare) -> v2.Transform:
    if augment.policy == "trivial":
        return v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR, fill=prepare.fill)
    how = v2.InterpolationMode.BILINEAR
    return v2.RandAugment(augment.operations, augment.magnitude, interpolation=how, fill=prepare.fill)
