"""The dataclasses of the groups that say how the head and what is awake are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlx.config.fields import choice, number, numbers, path

__all__ = [
    "SGD",
    "AdamW",
    "BankFeatures",
    "Callbacks",
    "Checkpoint",
    "ConstantSchedule",
    "CosineSchedule",
    "CsvLogger",
    "EarlyStopping",
    "KnnSolver",
    "LbfgsSolver",
    "MlflowLogger",
    "NcmSolver",
    "NoFeatures",
    "Regularizer",
    "RidgeSolver",
    "SgdSolver",
    "TensorboardLogger",
    "Trainer",
    "WandbLogger",
]


@dataclass
class BankFeatures:
    """A wholly frozen trunk computes its features once, kept in a bank, and ``solver`` trains the head on them.

    Args:
        dir: The folder of the bank, which all runs may share; null keeps features in memory, for this run.
        max_gb: How much the folder may hold (10^9 bytes); beyond it, trunks used longest ago are removed.
        depths: What a pass computes: the run's own cut, or ``all`` depths of the backbone, so that runs with other
            cuts need no pass of their own.
        views: How many views of every training image the head learns on, each drawn by ``augment``; 0: the image
            itself.
        profile_up_to: Where the whole training freezes the trunk, and there are at most so many training images, the
            depth profile shows how well a linear probe does at every depth of the backbone; 0: never.
    """

    kind: str = "bank"
    dir: str | None = path(None)
    max_gb: float = number(20.0, above=0)
    depths: str = choice("own", "own", "all")
    views: int = number(0, low=0, high=1000)
    profile_up_to: int = number(2000, low=0)


@dataclass
class NoFeatures:
    """Compute features live, in every epoch, with augmentation, through the Lightning trainer."""

    kind: str = "off"


@dataclass
class LbfgsSolver:
    """Multinomial logistic regression to convergence; the L2 strength is chosen on validation data.

    ``strengths`` are lambdas of ``mean cross entropy + lambda / 2 * |W|^2`` on standardised features.
    """

    kind: str = "lbfgs"
    strengths: list[float] = numbers(1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, low=1e-9, least=1)
    max_iterations: int = number(500, low=1)  # a strength

    @property
    def words(self) -> str:
        """What it does, in words."""
        return f"{self.kind}, L2 on validation"


@dataclass
class RidgeSolver:
    """Least squares on one-hot targets, in closed form; the L2 strength is chosen on validation data.

    ``strengths`` are lambdas of ``mean squared error + lambda * |W|^2`` on standardised features.
    """

    kind: str = "ridge"
    strengths: list[float] = numbers(100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.001, low=1e-9, least=1)

    @property
    def words(self) -> str:
        """What it does, in words."""
        return f"{self.kind}, L2 on validation"


@dataclass
class NcmSolver:
    """The class whose mean is nearest, on standardised features."""

    kind: str = "ncm"

    @property
    def words(self) -> str:
        """What it does, in words."""
        return f"{self.kind}, nothing to choose"


@dataclass
class KnnSolver:
    """Votes of the k most similar training images, each counting ``exp(cosine / temperature)``.

    k is chosen out of ``neighbours`` on validation data. The model keeps the features of every training image:
    ``most_gigabytes`` of them at most.
    """

    kind: str = "knn"
    neighbours: list[int] = numbers(1, 5, 10, 20, 50, 100, 200, low=1, least=1)
    temperature: float = number(0.07, above=0)
    most_gigabytes: float = number(1.0, above=0)

    @property
    def words(self) -> str:
        """What it does, in words."""
        return f"{self.kind}, k on validation"


@dataclass
class SgdSolver:
    """Gradient descent, epoch by epoch, as the optimizer, the schedule and ``trainer.max_epochs`` say.

    It also trains the heads that other solvers cannot, whichever of them is chosen: ``head=mlp`` and ``head=cosine``.
    """

    kind: str = "sgd"

    @property
    def words(self) -> str:
        """What it does, in words."""
        return f"{self.kind}, epoch by epoch"


@dataclass
class AdamW:
    """AdamW (Loshchilov and Hutter, 2019). Weight decay spares biases and norms."""

    kind: str = "adamw"
    lr: float = number(1e-3, above=0, words=("auto",))  # auto: a learning-rate range test finds it
    weight_decay: float = number(0.05, low=0)
    betas: list[float] = numbers(0.9, 0.999)
    head_multiple: float = number(1.0, above=0)  # a new head's learning rate, as a multiple of lr; 1 after a probe
    layer_decay: float | None = number(
        None, above=0, high=1
    )  # a layer's learning rate, as a multiple of the next one's


@dataclass
class SGD:
    """Stochastic gradient descent with momentum. Weight decay spares biases and norms."""

    kind: str = "sgd"
    lr: float = number(0.05, above=0, words=("auto",))  # auto: a learning-rate range test finds it
    weight_decay: float = number(1e-4, low=0)
    momentum: float = number(0.9, low=0, high=1)
    nesterov: bool = True
    head_multiple: float = number(1.0, above=0)
    layer_decay: float | None = number(None, above=0, high=1)


@dataclass
class CosineSchedule:
    """Linear warm-up, then half a cosine down to ``final`` times the learning rate; counted in steps."""

    kind: str = "cosine"
    warmup_epochs: float = number(0.5, low=0)
    final: float = number(0.01, low=0, high=1)


@dataclass
class ConstantSchedule:
    """Linear warm-up, then the learning rate as given."""

    kind: str = "constant"
    warmup_epochs: float = number(0.0, low=0)


@dataclass
class Regularizer:
    """What keeps a network from fitting a small set too closely, besides augmentation and weight decay.

    Args:
        label_smoothing: The share of every label that goes to all classes alike (Szegedy et al., 2016).
        l2_sp: Adds ``l2_sp / 2 * |w - w0|^2`` to the loss, over the trunk's weights that train (low-rank adapters
            aside); w0 are the pretrained ones (Li, Grandvalet and Davoine, 2018). The optimizer's own weight decay
            pulls towards zero besides: with l2_sp, set optimizer.weight_decay=0. As a part of the loss it is clipped,
            and scaled by Adam, like any other gradient.
        drop_path: Stochastic depth (Huang et al., 2016): the probability of leaving out the last block, falling
            linearly to zero at the first; timm's ``drop_path_rate``.
        ema: Decay of an exponential moving average of the weights that train, one step an optimizer step; null: off.
            The average is what is validated, saved and kept. After t steps the decay is at most (1 + t) / (10 + t), so
            that a short training is not held at its start.
    """

    kind: str = "standard"
    label_smoothing: float = number(0.0, low=0, high=0.99)
    l2_sp: float = number(0.0, low=0)
    drop_path: float = number(0.0, low=0, high=0.99)
    ema: float | None = number(None, above=0, high=0.999999)


@dataclass
class Trainer:
    """What the Lightning trainer is asked for.

    Args:
        precision: ``auto``: mixed precision where the device computes it natively and a trial of real steps of this
            very network finds it clearly faster, else 32. A training too short to pay for the trial stays at 32, as
            does one with ``strategy=fsdp``, which has no room for a copy.
        memory_format: The order of weights and images in memory; ``auto``: by the same trial, else channels last.
        compile: Compile the network's forward pass (torch.compile); minutes, before the first step.
        checkpointing: Compute activations again in the backward pass instead of keeping them (Chen et al., 2016).
        cache_dir: Where trials are remembered for later runs on the same machine; null: nowhere.
    """

    kind: str = "lightning"
    accelerator: str = choice("auto", "auto", "cpu", "gpu", "mps")
    devices: int | str = "auto"
    num_nodes: int = number(1, low=1)
    strategy: str = choice("auto", "auto", "ddp", "fsdp")
    precision: str = choice("auto", "auto", "32", "bf16-mixed", "16-mixed")
    memory_format: str = choice("auto", "auto", "channels_last", "contiguous")
    compile: bool = False
    checkpointing: bool = False
    cache_dir: str | None = path("~/.cache/tlx/pace")
    max_epochs: int = number(10, low=1)
    accumulate: int = number(1, low=1)  # batches a step
    gradient_clip: float | None = number(1.0, above=0)  # of the gradient's norm; null: off


@dataclass
class Checkpoint:
    """When the state is saved, besides at every epoch's end, and what "best" means."""

    monitor: str = choice("accuracy", "accuracy", "balanced_accuracy", "macro_f1", "loss")
    every_seconds: float = number(300.0, above=0)
    every_steps: int | None = number(None, low=1)


@dataclass
class EarlyStopping:
    """Stop when the monitored validation metric has not improved for ``patience`` epochs (null: never)."""

    patience: int | None = number(None, low=1)
    min_delta: float = number(0.0, low=0)


@dataclass
class Callbacks:
    """What watches the training."""

    kind: str = "standard"
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    progress: bool = True


@dataclass
class CsvLogger:
    """``metrics.csv``, which is always written, and nothing else."""

    kind: str = "csv"


@dataclass
class TensorboardLogger:
    """Event files in the run folder's ``tensorboard/``."""

    kind: str = "tensorboard"


@dataclass
class MlflowLogger:
    """A run of an MLflow experiment: at ``uri``, else ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` beside the runs."""

    kind: str = "mlflow"
    experiment: str = "tlx"
    uri: str | None = None


@dataclass
class WandbLogger:
    """A run of a project at Weights & Biases, as its own settings say (``WANDB_MODE=offline`` keeps it here)."""

    kind: str = "wandb"
    project: str = "tlx"
