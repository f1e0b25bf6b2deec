"""The four cases of one command line."""

from __future__ import annotations

import pytest
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tlx.__main__ import conf_folder
from tlx.config.cases import CASES, Auto, is_auto, read_auto
from tlx.config.groups import DigitsData, PretrainedInit, ScratchInit
from tlx.door.cases import backbone_words, compose_cases
from tlx.errors import InputError


def plain(config: DictConfig) -> dict:
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def composed(*words: str, backbone: str = "") -> Auto:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose_cases(words, "digits", plain, backbone)


def test_every_case_is_of_the_same_images_and_of_its_own_surgery() -> None:
    auto = composed("backbone=resnet18", "data.batch_size=7", "seed=3")
    assert tuple(auto.cases) == CASES
    for case, config in auto.cases.items():
        assert (config.case, config.backbone.name[:8], config.seed) == (case, "resnet18", 3)
        assert isinstance(config.data, DigitsData)
        assert config.data.batch_size == 7
    assert isinstance(auto.cases["large_different"].init, ScratchInit)
    assert auto.cases["small_similar"].freeze.kind == "trunk"
    assert auto.cases["large_similar"].freeze.kind == "none"
    assert not auto.epochs_given
    assert auto.words == ("backbone=resnet18", "data.batch_size=7", "seed=3", "data=digits")


def test_weights_are_for_the_cases_that_use_them() -> None:
    auto = composed("init.file=w.safetensors", "trainer.max_epochs=2", "case=auto", "output=x", "hydra.run.dir=y")
    init = auto.cases["large_similar"].init
    assert isinstance(init, PretrainedInit)
    assert init.file == "w.safetensors"
    assert isinstance(auto.cases["large_different"].init, ScratchInit)
    assert auto.epochs_given
    assert auto.words == ("init.file=w.safetensors", "trainer.max_epochs=2", "data=digits")


@pytest.mark.parametrize(
    "word",
    ["cut=head", "cut.keep=0.5", "freeze=lora", "init=scratch", "init=race", "case=small_similar", "+freeze.x=1"],
)
def test_what_advice_chooses_is_not_given(word: str) -> None:
    with pytest.raises(InputError, match="leave"):
        composed(word)


def test_a_backbone_is_an_option_or_a_name_of_timms() -> None:
    assert backbone_words("resnet18") == ["backbone=resnet18"]
    assert backbone_words("resnet34") == ["backbone=timm", "backbone.name=resnet34"]
    auto = composed("backbone=resnet18", "backbone.image_size=64", backbone="resnet34")
    assert auto.cases["small_similar"].backbone.name == "resnet34"
    assert auto.words == ("backbone=timm", "backbone.name=resnet34", "data=digits")


def test_an_undecided_run_is_read_as_it_was_saved() -> None:
    auto = composed("seed=5")
    saved = auto.saved()
    assert is_auto(saved)
    assert not is_auto({"case": "auto"})
    assert read_auto(saved).cases == auto.cases
    del saved["cases"]["small_similar"]
    with pytest.raises(InputError, match="all four"):
        read_auto(saved)
