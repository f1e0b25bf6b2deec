"""The four cases of one command line, composed side by side, for advice to choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig

from tlx.config.cases import AUTO, CASES, DECIDED, Auto, read_auto
from tlx.door.arguments import spoken
from tlx.errors import InputError
from tlx.secrecy import discreet_word

OWN = ("output", "backbones", "trials")  # what `advise` takes beside what `train` takes
KEPT = ("init.file", "init.run", "init.cache")  # where weights are, of whatever case uses any

Plain = dict[str, Any]


def compose_cases(words: Sequence[str], data: str, plain: Callable[[DictConfig], Plain], backbone: str = "") -> Auto:
    """Compose what the overrides ``words`` make of each case, on the option ``data`` unless they name another.

    ``plain`` makes a plain config of a composed one; ``backbone`` takes the place of the one that they name.

    Raises:
        InputError: Words that choose what advice is to choose; whatever is wrong with the others.
    """
    kept = [word for word in words if _key(word) not in OWN and not _key(word).startswith("hydra.")]
    refuse(kept)
    kept = [word for word in kept if _key(word) != "case"]
    if backbone:
        kept = [word for word in kept if not _key(word).startswith("backbone")] + backbone_words(backbone)
    if not any(_key(word) == "data" for word in kept):
        kept.append(f"data={data}")
    composed = {case: {**plain(_compose([*_fitting(kept, case), f"case={case}"])), "case": case} for case in CASES}
    given = any(_key(word) == "trainer.max_epochs" for word in kept)
    auto = read_auto({"cases": composed, "epochs_given": given})
    return replace(auto, words=tuple(discreet_word(spoken(word)) for word in kept))


def refuse(words: Sequence[str]) -> None:
    """Make sure that nothing is chosen which advice is asked for.

    Raises:
        InputError: Something is.
    """
    for word in words:
        key, value = _key(word), word.partition("=")[2]
        if key == "case" and value != AUTO:
            raise InputError(
                f"{word}: advise finds the case", f"leave it away, or train with it: python -m tlx {word} ..."
            )
        group = key.partition(".")[0]
        if group in DECIDED and key not in KEPT and word != "init=pretrained":
            what = f"{word}: advice chooses init, cut and freeze itself"
            raise InputError(what, "leave it away, or choose a case; init.file=PATH says where weights are")


def backbone_words(name: str) -> list[str]:
    """Return what chooses a backbone: an option of the group, else a timm architecture."""
    from tlx.__main__ import conf_folder

    known = {file.stem for file in (conf_folder() / "backbone").glob("*.yaml")}
    return [f"backbone={name}"] if name in known else ["backbone=timm", f"backbone.name={name}"]


def _fitting(words: Sequence[str], case: str) -> list[str]:
    """Leave out where weights are, for the case that starts from random ones."""
    return [word for word in words if case != "large_different" or not _key(word).startswith("init")]


def _compose(words: list[str]) -> DictConfig:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from tlx.__main__ import conf_folder

    if GlobalHydra.instance().is_initialized():
        return compose("train", words)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):  # a launcher's process
        return compose("train", words)


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")
