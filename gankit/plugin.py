"""The contract between gankit and a plugin.

A plugin is a distribution ``gankit-plugin-<name>`` with one :class:`Variant` and, usually, one :class:`Dataset`.
Both are found by entry points alone; nothing registers itself at import::

    [project.entry-points."gankit.plugins.v1"]
    cgan = "gankit_plugin_cgan:CGAN"

    [project.entry-points."gankit.datasets.v1"]
    digits = "gankit_plugin_cgan.digits:Digits"

The plugin owns the mathematics (networks, losses, how to draw a sample). The trainer owns the mechanics: device,
precision, optimisers, accumulation, moving averages, augmentation, logging, checkpoints, resuming.

This module imports no torch, so that a plugin can be listed without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from gankit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Batch = dict[str, Tensor]
    Networks = Mapping[str, nn.Module]

PLUGIN_GROUP = "gankit.plugins.v1"
DATASET_GROUP = "gankit.datasets.v1"


class Config(BaseModel):
    """Base of a plugin's options. Every field becomes a command-line option; nested models become dotted ones.

    Give each field a default, a bound (``Field(gt=0)``) and a docstring below it, which becomes its help text.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True, frozen=True, use_attribute_docstrings=True)


class Optim(Config):
    """An optimiser and its learning-rate schedule."""

    kind: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """Optimiser."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate at the start."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates; rmsprop takes the second as alpha, sgd the first as momentum."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay (decoupled for adamw)."""
    schedule: Literal["constant", "linear", "cosine", "halve"] = "constant"
    """Learning rate over the run: constant; linear or cosine, to 0, after `hold`; or halved `halvings` times."""
    hold: float = Field(0.5, ge=0, lt=1)
    """Fraction of the run before a linear or cosine schedule begins to fall."""
    halvings: int = Field(0, ge=0)
    """How many times, evenly spread over the run, the schedule ``halve`` halves the learning rate."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """What stands under one key of a batch.

    ``image``: uint8 (N, *shape) with shape (C, H, W) from a dataset; float in [-1, 1] inside a step.
    ``class``: int64 (N,), an index into `names`. ``text``: uint8 (N, *shape) with shape (bytes,), UTF-8 padded with
    zeros. ``vector``: float32 (N, *shape).
    """

    kind: Literal["image", "class", "text", "vector"]
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a dataset provides: its keys, and whether `image` keys of one sample belong together."""

    keys: Mapping[str, Key]
    paired: bool = False

    def __getitem__(self, key: str) -> Key:
        return self.keys[key]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the key ``image``."""
        channels, height, width = self.keys["image"].shape
        return channels, height, width

    def classes(self, key: str = "label") -> int:
        """Number of classes of a ``class`` key."""
        return len(self.keys[key].names)


ConfigT = TypeVar("ConfigT", bound=BaseModel)


class Dataset(ABC, Generic[ConfigT]):
    """A named source of samples. Its options appear as ``--data.<field>``."""

    Config: ClassVar[type[BaseModel]] = Config
    in_memory: bool = False
    """True if `batch` only copies out of tensors that are held: then it is not worth handing to a worker."""

    def __init__(self, config: ConfigT, split: Literal["train", "test"] = "train") -> None:
        self.config = config
        self.split = split

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What a batch holds. Known after ``__init__``; the same for both splits."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """The samples at `indices` (int64, (N,)), as CPU tensors of the kinds that `spec` says.

        Must be a pure function of the indices: workers call it ahead of time and from several threads, and a resumed
        run asks for the same indices again. Random crops and flips are the trainer's (``--augment.*``).
        """

    def notes(self) -> list[str]:
        """Lines the user should read: files that could not be read, classes that are empty, ..."""
        return []


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One optimiser's turn in a step: minimise the sum of the terms that `loss` returns.

    `loss` gets a :class:`Step` and returns scalar tensors, keyed by the names they are logged under. Only the networks
    named in `updates` receive gradients, so nothing needs to be frozen. A turn repeated within a step gets a fresh
    :class:`Step` with a batch of its own.
    """

    name: str
    updates: tuple[str, ...]
    loss: Callable[[Step], dict[str, Tensor]]
    optim: Optim = field(default_factory=Optim)
    every: int = 1
    repeat: int = 1


class Step(ABC):
    """What a phase's loss may use. Made by the trainer."""

    index: int
    """Number of the step, from 0."""
    size: int
    """Number of samples in a batch."""
    device: torch.device
    networks: Networks
    generator: torch.Generator
    """The run's random generator, on `device`. Draw all randomness from it, or the run cannot be resumed exactly."""

    @property
    @abstractmethod
    def batch(self) -> Batch:
        """The batch, on `device`; images are float in [-1, 1]. Read from the dataset when first asked for."""

    @abstractmethod
    def noise(self, *shape: int) -> Tensor:
        """Standard normal noise, float32, on `device`."""

    @abstractmethod
    def shared(self, key: str, draw: Callable[[], Any]) -> Any:
        """What `draw` returns, drawn once a step: phases that ask for the same key get the same tensors.

        A discriminator's phase uses ``step.shared("fake", draw).detach()``; the generator's phase that follows in the
        same step gets those fakes with their graph, so the generator runs forward once. A phase that backpropagates
        through a shared value uses it up: only one phase may.
        """

    @abstractmethod
    def augment(self, images: Tensor) -> Tensor:
        """Differentiable augmentation, if it is switched on (``--augment.diff``), else the images themselves.

        Call it on everything a discriminator sees, real and fake, in every phase.
        """


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """Draw `n` samples on `device`. `batch` holds what the variant's `conditions` name, n rows each."""

    n: int
    batch: Batch
    generator: torch.Generator
    device: torch.device

    def noise(self, *shape: int) -> Tensor:
        """Standard normal noise, float32, on `device`."""
        import torch

        return torch.randn(shape, generator=self.generator, device=self.device)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What :meth:`Variant.prepare` may use, once, before the first step of a new run."""

    networks: Networks
    train: Dataset[Any]
    generator: torch.Generator
    device: torch.device
    report: Callable[[str], None]
    """Tells the user a line."""


class Variant(ABC, Generic[ConfigT]):
    """One kind of GAN. Its docstring heads ``gankit run NAME --help``; ``gankit list`` reads metadata only."""

    Config: ClassVar[type[BaseModel]] = Config
    """Options; names must not be those of the run's own options: such a variant is refused."""
    dataset: ClassVar[str]
    """Name of the dataset used when ``--dataset`` is not given."""
    requires: ClassVar[frozenset[str]] = frozenset({"image"})
    """Keys a batch must have."""
    conditions: ClassVar[frozenset[str]] = frozenset()
    """Those of them that `sample` needs: ``{"label"}`` for a class-conditional GAN."""
    averaged: ClassVar[tuple[str, ...]] = ()
    """Networks of which a moving average is kept; samples are drawn from the average."""
    metric: ClassVar[str | None] = None
    """Which metric of ``gankit eval`` picks the best checkpoint."""
    stages: ClassVar[int] = 1
    """Above 1, `Config` has a field ``stage: int | None``; each stage is a run that builds on the one before."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Values laid under the user's own, by preset name: any option of the run, the variant or the data, dotted
    (``{"default": {"steps": 2000, "optim.lr": 1e-3, "data.size": 32}}``). A key ``stage<k>`` holds a mapping that
    applies at that stage only. ``default`` applies when ``--preset`` is not given."""
    check_options: ClassVar[Mapping[str, Any]] = {}
    """Values of options, dotted, with which ``gankit plugins check`` is quick: little to do for `prepare`, say."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        """The modules, freshly initialised, on the CPU. Raise :class:`UsageError` if `spec` cannot be served."""

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """What a step is, in order."""

    @abstractmethod
    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        """Images, float in [-1, 1], (request.n, C, H, W). Networks are in eval mode, averaged where `averaged` says."""

    def prepare(self, preparation: Preparation) -> None:
        """Work before the first step of a new run: train an encoder, set a statistic. Results belong in networks."""

    def inherits(self) -> dict[str, str]:
        """At stage k > 1: which networks start from which networks of the run of stage k - 1."""
        return {}


__all__ = [
    "DATASET_GROUP",
    "PLUGIN_GROUP",
    "Config",
    "DataSpec",
    "Dataset",
    "Key",
    "Optim",
    "Phase",
    "Preparation",
    "SampleRequest",
    "Step",
    "UsageError",
    "Variant",
]
