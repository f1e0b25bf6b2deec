"""Traces: what a pass ran, what its output depends on, and which way every image must go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tlx.config.groups import TimmBackbone
from tlx.network.backbone import create
from tlx.network.trace import ImageSizeError, connected, forget, main_path, probe, record


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


def chain(blocks: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), *(Block() for _ in range(blocks)))


@pytest.mark.parametrize("blocks", [1, 200])
def test_the_main_path_leads_around_what_a_sum_goes_around(blocks: int) -> None:
    net = chain(blocks)
    runs, output, image = record(net, net, 8)
    main = main_path(output, image)
    on = {path for path, run in runs.items() if run.node in main}
    assert on == {str(i) for i in range(blocks + 2)}
    assert f"{blocks + 1}.inner" in runs


def test_a_parameter_is_no_way_from_the_image() -> None:
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.place = nn.Conv2d(3, 4, 4, 4), nn.Parameter(torch.zeros(1, 4, 2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.patches(x) + self.place

    net = Placed()
    runs, output, image = record(net, net, 8)
    assert runs["patches"].node in main_path(output, image)
    assert connected(output.grad_fn) >= {id(p) for p in net.parameters()}
    assert id(net.place) not in connected(runs["patches"].node)


def test_an_output_without_a_graph_has_no_main_path() -> None:
    class Blind(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach()

    net = Blind()
    _, output, image = record(net, net, 8)
    assert main_path(output, image) == set()
    assert connected(output.grad_fn) == set()


def test_a_network_may_write_over_its_input() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x -= 0.5
            return self.conv(x)

    net = Shifted()
    runs, output, image = record(net, net, 8)
    assert runs["conv"].node in main_path(output, image)


def test_a_probe_leaves_modes_and_statistics_as_they_were() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    net[1].eval()
    before = net[1].running_mean.clone()
    assert torch.equal(probe(net, 8), probe(net, 8))
    assert [m.training for m in net] == [True, False, True]
    assert torch.equal(net[1].running_mean, before)
    assert not probe(net, 8).requires_grad
    net[0].weight.requires_grad = False
    assert id(net[0].weight) in connected(probe(net, 8, graph=True).grad_fn)
    assert not net[0].weight.requires_grad


def test_an_image_size_that_does_not_fit_is_told() -> None:
    with pytest.raises(ImageSizeError, match="cannot take images of 2 pixels"):
        probe(nn.Conv2d(3, 4, 5), 2)


def test_what_is_kept_of_old_weights_is_given_up() -> None:
    """LeViT indexes its attention biases once in eval mode; without `forget`, new weights would meet the old ones."""
    model = create(TimmBackbone(name="levit_128s"), 64).model.eval()
    images = torch.randn(1, 3, 64, 64)

    def changed(forgetting: bool) -> bool:
        with torch.no_grad():
            before = model(images)
            for name, parameter in model.named_parameters():
                if name.endswith("attention_biases"):
                    parameter.normal_(0, 5)
            if forgetting:
                forget(model)
            return not torch.equal(model(images), before)

    assert not changed(False)
    assert changed(True)
    assert not model.training
    forget(model)
    probe(model, 64)
    assert not any(getattr(m, "attention_bias_cache", None) for m in model.modules())
