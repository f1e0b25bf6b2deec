"""Networks of the user's own: any module that takes images is cut by its layers, and nothing is left behind the cut."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from tlx.config.groups import (
    CustomBackbone,
    DepthCut,
    EarlyCut,
    HeadCut,
    LayerCut,
    LinearHead,
    NoFreeze,
    PretrainedInit,
    ScratchInit,
    StageCut,
    TimmBackbone,
)
from tlx.errors import InputError
from tlx.network import model_folder
from tlx.network import network as networks
from tlx.network.backbone import create
from tlx.network.cost import by_stage, multiply_adds, skeleton
from tlx.network.cut import Cut, Trunk, cut_at, layers, probe, stages
from tlx.network.network import Network
from tlx.network.points import description_of

SIZE = 32
HERE = "tests.network.test_custom"


class Flat(nn.Module):
    """Convolutions, functions between the modules, and a view that takes no channels-last maps."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 2 * width, 3, padding=1)
        self.norm = nn.BatchNorm2d(2 * width)
        self.fc1, self.fc2 = nn.Linear(2 * width * 16, 20), nn.Linear(20, 10)
        self.spare = nn.Linear(7, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = nn.functional.adaptive_avg_pool2d(torch.relu(self.norm(self.conv2(x))), 4)
        return self.fc2(torch.relu(self.fc1(x.view(len(x), -1))))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.two(torch.relu(self.one(x))))


class Nested(nn.Module):
    """A body with blocks inside, whose class has a `forward_features` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.LazyConv2d(8, 4, 4)
        self.body = nn.ModuleDict({"a": Residual(8), "b": nn.Sequential(Residual(8), Residual(8))})
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 5))

    def forward_features(self, x: torch.Tensor, scale: float) -> torch.Tensor:
        return self.body["b"](self.body["a"](self.stem(x) * scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.forward_features(x, 0.5).mean((2, 3)))


class Attention(nn.Module):
    """torch's own transformer, whose fast path without gradients calls no inner module."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc(self.encoder(torch.cat([self.token.expand(len(x), 1, 16), x], 1))[:, 0])


class Otherwise(Flat):
    """Uses a name of timm's for something else."""

    feature_info = ("conv1", 3)
    num_prefix_tokens = None


class Softmaxed(Flat):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).softmax(1)


class Several(Flat):
    """Returns a mapping of two outputs, as networks from elsewhere do."""

    def forward(self, x: torch.Tensor) -> Any:
        hidden = torch.relu(self.conv1(x))
        deep = self.conv2(hidden)
        return {"logits": self.fc2(deep.mean((2, 3)).repeat(1, 2)[:, :20]), "hidden": [deep]}


class Bare(nn.Module):
    """No fully connected layer at all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


def make_timm(name: str = "test_resnet") -> nn.Module:
    """A function that returns a module, one with all of timm's methods."""
    return timm.create_model(name, pretrained=False)


def number() -> int:
    return 3


not_callable = 3
a_module = nn.Identity()
OWN = {kind.__name__: kind for kind in (Flat, Nested, Attention)}


def config(name: str, **values: Any) -> CustomBackbone:
    return CustomBackbone(target=f"{HERE}.{name}", image_size=SIZE, **values)


def whole(name: str) -> nn.Module:
    torch.manual_seed(0)
    return create(config(name)).model.eval()


def build(name: str, cut: Cut, init: Any = None, **values: Any) -> tuple[Network, Any, Any]:
    return networks.build(config(name, **values), init or ScratchInit(), cut, NoFreeze(), LinearHead(), 3, 0)


def hooked(model: nn.Module, path: str) -> torch.Tensor:
    outputs: list[torch.Tensor] = []
    hook = model.get_submodule(path).register_forward_hook(lambda m, i, output: outputs.append(output.clone()))
    probe(model, SIZE)
    hook.remove()
    return outputs[0]


@pytest.mark.parametrize(
    ("name", "offered", "announced"),
    [
        (
            "Flat",
            ["conv1", "conv2", "norm", "fc1"],
            [("conv1", 8, 1), ("conv2", 16, 2), ("norm", 16, 2), ("fc1", 20, 32)],
        ),
        (
            "Nested",
            ["stem", "body.a", "body.b", "body.b.0", "body.b.1", "head.0"],
            [("stem", 8, 4)],
        ),
        (
            "Attention",
            ["patches", *("encoder", "encoder.layers.0", "encoder.layers.0.norm1", "encoder.layers.0.norm2"),
             *("encoder.layers.1", "encoder.layers.1.norm1", "encoder.layers.1.norm2"),
             *("encoder.layers.2", "encoder.layers.2.norm1", "encoder.layers.2.norm2")],
            [("patches", 16, 8), ("encoder", 16, 32)],
        ),
    ],
)  # fmt: skip
def test_the_description(name: str, offered: list[str], announced: list[tuple[str, int, int]]) -> None:
    model = whole(name)
    assert layers(model, SIZE) == offered
    assert [(s.name, s.channels, s.reduction) for s in stages(model)] == announced


def test_networks_with_timms_methods_are_cut_as_timms_are() -> None:
    model = whole("make_timm")
    assert description_of(model) is None
    assert [s.name for s in stages(model)] == ["act1", "layer1", "layer2", "layer3", "layer4"]
    network, _, surgery = build("make_timm", StageCut(stage="layer2"))
    assert network.trunk.point.kind == "stage"
    assert surgery.kept + surgery.dropped == sum(p.numel() for p in make_timm().parameters())


def looked_at(name: str, path: str) -> bool:
    """Whether a parameter lies behind a cut, but torch's encoder layer looks at it before it begins (its fast path)."""
    inside, _, last = path.rpartition(".")
    return last == "norm1" and name.startswith(tuple(f"model.{inside}.{n}." for n in ("linear1", "linear2", "norm2")))


@pytest.mark.parametrize("name", OWN)
def test_every_layer_cut(name: str, tmp_path: Path) -> None:
    model = whole(name)
    total = multiply_adds(model, SIZE)
    images = torch.randn(2, 3, SIZE, SIZE)
    for path in layers(model, SIZE):
        expected = hooked(model, path)
        trunk = cut_at(copy.deepcopy(model), LayerCut(name=path), SIZE)
        torch.testing.assert_close(probe(trunk, SIZE), expected)
        names, parameters = zip(*trunk.named_parameters(), strict=True)
        gradients = torch.autograd.grad(trunk(images).sum(), parameters, allow_unused=True)
        dead = {n for n, g in zip(names, gradients, strict=True) if g is None}
        assert dead == {n for n in names if looked_at(n, path)}
        assert 0 < multiply_adds(trunk, SIZE) < total
        network, seen, surgery = build(name, LayerCut(name=path))
        assert surgery.kept == sum(p.numel() for p in network.trunk.parameters())
        network.train()
        nn.functional.cross_entropy(network(images), torch.tensor([0, 2])).backward()
        dead = {n for n, p in network.named_parameters() if p.grad is None and n != "trunk.model.token"}
        assert dead == {f"trunk.{n}" for n in names if looked_at(n, path)}  # the average leaves the token out
        model_folder.save(tmp_path, network, config(name), LinearHead(), seen, list("abc"))
        loaded, _, _, _ = model_folder.load(tmp_path, config(name))
        with torch.no_grad():
            assert torch.equal(loaded(images), network.eval()(images))


def test_nothing_behind_a_cut_stays() -> None:
    network, _, surgery = build("Flat", LayerCut(name="conv2"))
    assert {n for n, _ in network.trunk.named_parameters()} == {
        "model.conv1.weight", "model.conv1.bias", "model.conv2.weight", "model.conv2.bias",
    }  # fmt: skip
    assert set(network.trunk.state_dict()) == {n for n, _ in network.trunk.named_parameters()}
    convolutions = 8 * 3 * 9 * 32 * 32 + 16 * 8 * 9 * 16 * 16
    assert multiply_adds(network.trunk, SIZE) == convolutions
    assert surgery.kept + surgery.dropped == sum(p.numel() for p in Flat().parameters())
    assert (network.trunk.layout, network.trunk.width, network.trunk.shape) == ("NCHW", 16, (16, 16, 16))


@pytest.mark.parametrize(
    ("name", "width", "gone"), [("Flat", 20, "fc2"), ("Nested", 8, "head.1"), ("Attention", 16, "fc")]
)
def test_a_head_cut_takes_the_classifier_off(name: str, width: int, gone: str) -> None:
    model = whole(name)
    given: list[torch.Tensor] = []
    model.get_submodule(gone).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    probe(model, SIZE)
    trunk = cut_at(copy.deepcopy(whole(name)), HeadCut(), SIZE)
    assert (trunk.layout, trunk.width) == ("vector", width)
    torch.testing.assert_close(probe(trunk, SIZE), given[0])
    assert not any(n.startswith((f"model.{gone}.", "model.spare")) for n, _ in trunk.named_parameters())


@pytest.mark.parametrize(
    ("cut", "point"),
    [
        (EarlyCut(keep=0.5), "conv2"),
        (EarlyCut(keep=1.0), "fc1"),
        (StageCut(stage=1), "conv2"),
        (StageCut(stage="norm"), "norm"),
        (DepthCut(keep=0.34), "conv1"),  # of three layers but the classifier
        (DepthCut(keep=0.67), "norm"),  # the last place behind two of them
        (DepthCut(keep=1.0), "fc1"),
    ],
)
def test_the_other_cuts_mean_layers(cut: Cut, point: str) -> None:
    trunk = cut_at(whole("Flat"), cut, SIZE)
    assert (trunk.point.kind, trunk.point.name) == ("layer", point)


def test_the_costs_of_the_stages_grow() -> None:
    model = whole("Flat")
    costs = by_stage(model, SIZE)
    assert [c.stage.name for c in costs] == ["conv1", "conv2", "norm", "fc1"]
    assert [c.multiply_adds for c in costs] == sorted(c.multiply_adds for c in costs)
    assert costs[0].shape == (8, 32, 32)
    assert description_of(skeleton(model)) == description_of(model)


@pytest.mark.parametrize("cut", [HeadCut(), LayerCut(name="norm")])
def test_channels_last_is_left_to_code_that_knows_it(cut: Cut) -> None:
    network, _, _ = build("Flat", cut)
    network(torch.randn(2, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last))
    with pytest.raises(RuntimeError, match="view"):  # the control: it would fail
        Flat()(torch.randn(2, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last))


def test_weights_come_from_a_file_or_the_seed(tmp_path: Path) -> None:
    weights = {n: torch.randn_like(t) if t.is_floating_point() else t for n, t in Flat().state_dict().items()}
    save_file(weights, tmp_path / "w.safetensors")
    file = PretrainedInit(file=str(tmp_path / "w.safetensors"))
    for cut in (HeadCut(), LayerCut(name="conv2")):
        network, _, surgery = build("Flat", cut, file)
        assert all(torch.equal(t, weights[n]) for n, t in network.trunk.model.state_dict().items())
        assert surgery.weights == tmp_path / "w.safetensors"
    one, same = (build("Nested", HeadCut())[0].state_dict() for _ in range(2))  # lazy layers included
    assert all(torch.equal(one[n], same[n]) for n in one)
    with pytest.raises(
        InputError, match=r"no weights are known for .*Flat; give init=scratch .*, init.file=PATH or init.run=FOLDER"
    ):
        build("Flat", HeadCut(), PretrainedInit())
    with pytest.raises(InputError, match="is of another architecture"):
        build("Attention", HeadCut(), file)


def test_names_of_timms_that_mean_something_else_are_left_alone() -> None:
    model = whole("Otherwise")
    assert [s.name for s in stages(model)] == ["conv1", "conv2", "norm", "fc1"]
    assert cut_at(copy.deepcopy(model), LayerCut(name="conv2"), SIZE).layout == "NCHW"
    assert by_stage(model, SIZE)[0].stage.name == "conv1"


def test_kwargs_reach_the_target() -> None:
    assert build("Flat", LayerCut(name="conv1"), kwargs={"width": 5})[0].trunk.width == 5


def test_an_output_of_several_tensors_can_be_cut_before_them() -> None:
    model = whole("Several")
    assert layers(model, SIZE) == ["conv1", "conv2"]
    assert cut_at(copy.deepcopy(model), LayerCut(name="conv2"), SIZE).width == 16
    with pytest.raises(InputError, match="behind its last fully connected layer, fc2, this backbone computes more"):
        cut_at(model, HeadCut(), SIZE)


class Blind(nn.Module):
    """Computes its first layer without a graph: there is no way from the image to the output to be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = self.first(x)
        return self.fc(self.second(x).mean((2, 3)))


def test_what_computes_outside_the_graph_is_cut_as_the_user_says() -> None:
    model = whole("Blind")
    assert layers(model, SIZE) == ["first", "second"]
    trunk = cut_at(copy.deepcopy(model), LayerCut(name="second"), SIZE)
    assert {n for n, _ in trunk.model.named_parameters()} == {
        "first.weight", "first.bias", "second.weight", "second.bias",
    }  # fmt: skip
    assert torch.equal(probe(trunk, SIZE), hooked(model, "second"))


def test_code_that_catches_everything_does_not_catch_the_end() -> None:
    class Careful(Flat):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return super().forward(x)
            except Exception:
                return torch.zeros(len(x), 1)

    sys.modules[HERE].Careful = Careful  # type: ignore[attr-defined]
    trunk = cut_at(whole("Careful"), LayerCut(name="conv1"), SIZE)
    assert isinstance(trunk, Trunk)
    assert trunk.shape == (8, 32, 32)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"target": "MyNet"}, "backbone.target=MyNet is no dotted name; write MODULE.CLASS"),
        ({"target": "os; import sys"}, "is no dotted name"),
        ({"target": "no_such_package.MyNet"}, "there is no module no_such_package; it is looked for in .*PYTHONPATH"),
        ({"target": f"{HERE}.Flatt"}, f"{HERE} has no Flatt; did you mean 'Flat'"),
        ({"target": f"{HERE}.no.Flat"}, f"{HERE} has no no; "),
        ({"target": f"{HERE}.not_callable"}, "is a int; name a class, or a function that returns a module"),
        ({"target": f"{HERE}.a_module"}, "is a Identity; name a class, or a function"),
        ({"target": f"{HERE}.number"}, "returned a int; name a class derived from torch.nn.Module"),
        ({"kwargs": {"depth": 3}}, r"cannot be called with \{'depth': 3\}: TypeError: .*'depth'; see backbone.kwargs"),
        ({"kwargs": [1]}, r"backbone.kwargs=\[1\] is no mapping"),
        ({"target": f"{HERE}.Wants"}, r"Wants cannot be run: TypeError: .*labels.*\(1, 3, 32, 32\)"),
        ({"target": f"{HERE}.Raises"}, r"cannot be run: KeyError: 'no such key' \(test_custom.py, line \d+\)"),
        (
            {"target": "torch.nn.Linear", "kwargs": {"in_features": 5, "out_features": 2}},
            "cannot take images of 32 pixels",
        ),
        ({"mean": [0.5]}, "do not normalise three channels"),
    ],
)
def test_what_cannot_be_adapted_is_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        create(CustomBackbone(**{"target": f"{HERE}.Flat", "image_size": SIZE, **values}))


class Wants(nn.Module):
    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return x + labels


class Raises(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + {}["no such key"]  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("name", "cut", "told"),
    [
        (
            "Softmaxed",
            HeadCut(),
            "behind its last .* layer, fc2, this backbone computes more; .* cut.name= one of: conv1,",
        ),
        ("Bare", HeadCut(), "runs no fully connected layer that could be taken off; .* one of: conv"),
        ("Flat", LayerCut(name="nope"), "cut.name=nope does not exist; one of: conv1, conv2, norm, fc1"),
        (
            "Flat",
            LayerCut(name="fc2"),
            "cut.name=fc2 holds the classifier, behind the last layer; take it off: cut=head",
        ),
        ("Flat", LayerCut(name="spare"), "cut.name=spare is not on the network's main path"),
        ("Nested", LayerCut(name="body.a.one"), "cut.name=body.a.one is not on .* main path; .*one of: stem, body.a"),
        ("Flat", StageCut(stage=4), r"cut.stage=4 does not exist; one of: 0 \(conv1\), 1 \(conv2\)"),
    ],
)
def test_cuts_that_cannot_be_are_told(name: str, cut: Cut, told: str) -> None:
    with pytest.raises(InputError, match=told):
        build(name, cut)


def test_a_file_of_the_users_that_cannot_be_imported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, code, told in (
        ("own_syntax", "class :", "importing own_syntax failed: SyntaxError"),
        ("own_raise", "import torch\n1 / 0\n", r"failed: ZeroDivisionError: .* \(own_raise.py, line 2\)"),
        ("own_needs", "import no_such_library", "own_needs imports no_such_library, which is not there; install it"),
    ):
        Path(f"{name}.py").write_text(code)
        with pytest.raises(InputError, match=told):
            create(CustomBackbone(target=f"{name}.Net", image_size=SIZE))


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Save a network of the user's own, with its description changed."""

    def save(**backbone: Any) -> Path:
        network, seen, _ = build("Flat", LayerCut(name="conv2"))
        model_folder.save(tmp_path / "m", network, config("Flat"), LinearHead(), seen, list("abc"))
        file = tmp_path / "m" / "network.json"
        plain = json.loads(file.read_text())
        assert plain["backbone"] == {"kind": "custom"}
        assert HERE not in file.read_text()
        file.write_text(json.dumps({**plain, "backbone": {**plain["backbone"], **backbone}}))
        return tmp_path / "m"

    return save


def test_a_saved_model_names_no_code_and_asks_for_it(saved: Callable[..., Path]) -> None:
    folder = saved()
    for own in (None, TimmBackbone(name="test_resnet")):
        with pytest.raises(
            InputError, match=r"a network of your own, and its files name no code; name it: backbone\.target="
        ):
            model_folder.load(folder, own)
    assert model_folder.load(folder, config("Flat"))[0].trunk.width == 16
    with pytest.raises(InputError, match=r"is damaged .*; or name the backbone.target and backbone.kwargs that it was"):
        model_folder.load(folder, config("Flat", kwargs={"width": 6}))


CANARY = """
from pathlib import Path
Path("canary").touch()
from tests.network.test_custom import Flat
"""


def test_a_hostile_model_imports_nothing(
    saved: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "own_canary.py").write_text(CANARY)
    folder = saved(target="own_canary.Flat", kwargs={"width": 8}, _target_="own_canary.Flat")
    with pytest.raises(InputError, match="name no code"):
        model_folder.load(folder)
    model_folder.load(folder, config("Flat"))
    assert not (tmp_path / "canary").exists()
    create(CustomBackbone(target="own_canary.Flat", image_size=SIZE))
    assert (tmp_path / "canary").exists()  # the canary sings when the user names it
