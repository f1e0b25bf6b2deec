"""The learner adds nothing that was not asked for: with all regularizers off, it is a plain loop, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.learner.small import CLASSES, SEED, Small, same
from tlx.config import groups as g
from tlx.config.check import check
from tlx.data.module import Batch
from tlx.errors import InputError
from tlx.learner.learner import Learner
from tlx.learner.mix import Mix
from tlx.network.network import Network
from tlx.randomness import seed_for


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_with_everything_off_it_is_a_plain_loop_bit_for_bit(smoothing: float) -> None:
    learner = Small().learner(g.Regularizer(label_smoothing=smoothing))
    network, _ = Small().plain(smoothing)
    assert (learner.mix, learner.anchor, learner.average) == (None, None, None)
    assert same(learner.network, network)
    checkpoint: dict[str, object] = {}
    learner.on_save_checkpoint(checkpoint)
    assert list(checkpoint) == ["certificate"]


@pytest.mark.parametrize(
    ("regularizer", "mix"),
    [
        (g.Regularizer(l2_sp=0.1), None),
        (g.Regularizer(label_smoothing=0.1), None),
        (g.Regularizer(), Mix(1.0, 0.0, CLASSES)),
        (g.Regularizer(), Mix(0.0, 1.0, CLASSES)),
    ],
)
def test_each_of_them_changes_the_training(regularizer: g.Regularizer, mix: Mix | None) -> None:
    """The negative control of the test above."""
    assert not same(Small(epochs=1).learner(regularizer, mix).network, Small(epochs=1).plain()[0])


def test_an_average_is_what_a_naive_one_is_and_leaves_the_training_alone() -> None:
    naive: dict[str, torch.Tensor] = {}
    count = 0

    def averaged(network: Network) -> None:
        nonlocal count
        decay = min(0.6, (1 + count) / (10 + count))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                naive[name] = decay * naive[name] + (1 - decay) * tensor
        count += 1

    small = Small()
    naive |= {n: t.clone() for n, t in small.network().state_dict().items() if t.is_floating_point()}
    network, _ = small.plain(stepped=averaged)
    learner = small.learner(g.Regularizer(ema=0.6))
    assert same(learner.network, network)
    assert learner.average is not None
    assert learner.average.steps == count == 6
    assert set(learner.average.tensors) == set(naive)
    assert any("running_var" in name for name in naive)
    torch.testing.assert_close(learner.average.tensors, naive, rtol=1e-5, atol=1e-6)


def test_with_accumulation_the_average_moves_with_steps_not_batches() -> None:
    learner = Small(accumulate=2).learner(g.Regularizer(ema=0.6))
    assert learner.average is not None
    assert learner.average.steps == 4


def validation_loss(network: Network) -> float:
    with torch.no_grad():
        batches = list(Small().images().plain_loader("val"))
        losses = [F.cross_entropy(network(b["image"]), b["label"], reduction="none") for b in batches]
    return float(torch.cat(losses).mean())


def test_the_average_is_what_is_validated() -> None:
    learner = Small().learner(g.Regularizer(ema=0.9))
    network = learner.network.eval()
    with learner.kept():
        assert learner.validated["loss"] == pytest.approx(validation_loss(network), rel=1e-5)
    assert learner.validated["loss"] != pytest.approx(validation_loss(network), rel=1e-3)


@pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode")
def test_what_wakes_later_is_averaged_from_then_on_and_what_sleeps_never_is() -> None:
    """Gradual unfreezing: the certificate, which compares bytes at every change, is content with an average."""
    small = Small(epochs=2, policy=g.GradualFreeze(every=1))
    learner = small.learner(g.Regularizer(ema=0.9))
    assert learner.average is not None
    started = small.network().state_dict()
    last = learner.network.anatomy.last(1)
    assert {n for n in learner.average.tensors if n.startswith("trunk.model.layer4")} > last.intersection(started)
    assert not any(n.startswith("trunk.model.layer1") for n in learner.average.tensors)
    with learner.kept():
        kept = {n: t.clone() for n, t in learner.network.state_dict().items()}
    still = {n for n in kept if torch.equal(kept[n], started[n])}
    assert still >= {n for n in started if n.startswith(("trunk.model.layer1", "trunk.model.conv1"))}
    assert not still & last


def test_the_anchor_is_a_penalty_on_the_way_from_the_start() -> None:
    small = Small(epochs=1)
    start = {n: p.detach().clone() for n, p in small.network().named_parameters() if n.startswith("trunk.")}

    def penalty(network: Network) -> torch.Tensor:
        return 0.5 * 0.7 * sum(((p - start[n]) ** 2).sum() for n, p in network.named_parameters() if n in start)

    network, _ = small.plain(penalty=penalty)
    learner = small.learner(g.Regularizer(l2_sp=0.7))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(learner.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)

    def way(network: Network) -> float:
        with torch.no_grad():
            return float(sum((p - start[n]).square().sum() for n, p in network.named_parameters() if n in start))

    long = Small(epochs=4)
    far = [way(long.learner(g.Regularizer(l2_sp=strength)).network) for strength in (0.0, 1.0, 100.0)]
    assert far[0] > far[1] > far[2]


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_the_loss_of_a_mixed_batch_is_the_mix_of_its_parts_losses(
    balance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A naive formula per image, with class weights and label smoothing, against what the learner logs and steps on."""
    small, smoothing = Small(epochs=1, balance=balance, kwargs={}), 0.1
    steps: list[tuple[torch.Tensor, torch.Tensor, float]] = []
    whole = Learner.training_step

    def recording(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
        assert self.mix is not None
        self.eval()  # so that the same image gives the same logits once more
        images, _ = self.mix(batch["image"], batch["label"], self._seed("mix", batch_idx))
        logits = self(images).detach()
        loss = whole(self, batch, batch_idx)
        steps.append((logits, batch["label"], float(loss.detach())))
        return loss

    monkeypatch.setattr(Learner, "training_step", recording)
    learner = small.learner(g.Regularizer(label_smoothing=smoothing), Mix(1.0, 0.0, CLASSES))
    weights = small.images().class_weights()
    by_class = torch.ones(CLASSES) if weights is None else weights
    assert len(steps) == 3
    for index, (logits, labels, loss) in enumerate(steps):
        _, soft = Mix(1.0, 0.0, CLASSES)(torch.zeros(len(labels), 3, 2, 2), labels, seed_for(SEED, "mix", 0, index, 0))
        other = labels.roll(1)
        total, weight = 0.0, 0.0
        for i in range(len(labels)):
            own, neighbour = int(labels[i]), int(other[i])
            share = float(soft[i, own]) if own != neighbour else 1.0
            for label, part in ((own, share), (neighbour, 1 - share)):
                log = logits[i].log_softmax(0)
                entropy = -(1 - smoothing) * log[label] - smoothing * log.mean()
                total += float(part * by_class[label] * entropy)
                weight += float(part * by_class[label])
        assert loss == pytest.approx(total / weight, rel=1e-4)
    assert learner.mix is not None


def test_regularizers_say_what_they_take() -> None:
    for key, value in (("ema", 1.0), ("ema", 0.0), ("l2_sp", -1.0), ("drop_path", 1.0)):
        with pytest.raises(InputError, match=rf"regularizer\.{key}={value} is out of range"):
            check({"kind": "standard", key: value}, g.Regularizer, "regularizer")
    with pytest.raises(InputError, match=r"augment\.mixup=-0\.1 is out of range"):
        check({"kind": "light", "mixup": -0.1}, g.LightAugment, "augment")
    assert check({"kind": "standard", "ema": 0.999}, g.Regularizer).ema == 0.999
