"""The contract between gankit and a plugin.

A plugin is a distribution ``gankit-plugin-<name>`` with one :class:`Variant` and, usually, one :class:`Dataset`.
Both are found by entry points alone; nothing registers itself at import::

    [project.entry-points."gankit.plugins.v1"]
    cgan = "gankit_plugin_cgan:CGAN"

    [project.entry-points."gankit.datasets.v1"]
    digits = "gankit_plugin_cgan.digits:Digits"

The plugin owns the mathematics (networks, losses, how to draw a sample). The trainer owns the mechanics: device,
precision, optimisers, accumulation, moving averages, augmentation, logging, checkpoints, resuming.

This module imports no torch, so that a plugin can be listed without it. Options (:class:`Config`, :class:`Optim`) are
written in `gankit.config`, what a dataset delivers in `gankit.dataset`; both can be had from here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, overload

from pydantic import BaseModel

from gankit.config import Config, Optim
from gankit.dataset import Dataset, DataSpec, Key
from gankit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.dataset import Batch

    Networks = Mapping[str, nn.Module]

PLUGIN_GROUP = "gankit.plugins.v1"
DATASET_GROUP = "gankit.datasets.v1"

ConfigT = TypeVar("ConfigT", bound=BaseModel)


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
    optim: Optim | Mapping[str, Optim] = field(default_factory=Optim)
    """One for all of `updates`, or one for each network: then one backward pass serves several optimisers."""
    shares: str | None = None
    """Name of an earlier phase whose optimiser steps in place of `optim`: a lazy penalty of the same network."""
    after: Callable[[Step], None] | None = None
    """Called after the optimiser's step, without gradients: weight clipping, a statistic."""
    every: int = 1
    repeat: int | Callable[[int], int] = 1
    """Turns in a step; a function gets the step's number, from 0."""


class Step(ABC):
    """What a phase's loss may use. Made by the trainer."""

    index: int
    """Number of the step, from 0."""
    steps: int
    """Number of steps of the run."""
    size: int
    """Number of samples in a batch; of several processes that share it, of this one's share."""
    spec: DataSpec
    device: torch.device
    networks: Networks
    generator: torch.Generator
    """The run's random generator, on `device`. Draw all randomness from it, or the run cannot be resumed exactly; what
    is drawn for samples with `gankit.whole_batch`, or processes that share a batch draw the same."""

    @property
    @abstractmethod
    def batch(self) -> Batch:
        """The batch, on `device`; images are float in [-1, 1]. Read from the dataset when first asked for."""

    @abstractmethod
    def noise(self, *shape: int) -> Tensor:
        """Standard normal noise, float32, on `device`; the first dimension counts samples."""

    @abstractmethod
    def shared(self, key: str, draw: Callable[[], Any]) -> Any:
        """What `draw` returns, drawn once a step: phases that ask for the same key get the same tensors.

        A discriminator's phase uses ``step.shared("fake", draw).detach()``; the generator's phase that follows in the
        same step gets those fakes with their graph, so the generator runs forward once. A phase that backpropagates
        through a shared value uses it up: only one phase may.
        """

    @overload
    def augment(self, images: Tensor, *, p: Tensor | float | None = None) -> Tensor: ...
    @overload
    def augment(self, images: Tensor, along: Tensor, *, p: Tensor | float | None = None) -> tuple[Tensor, Tensor]: ...
    @abstractmethod
    def augment(
        self, images: Tensor, along: Tensor | None = None, *, p: Tensor | float | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Differentiable augmentation, if it is switched on (``--augment.diff``), else the images themselves.

        Call it on everything a discriminator sees, real and fake, in every phase. `along`, maps (N, C', H, W) that
        belong to the images (masks, a second domain), are moved and cut like them and keep their values. `p`, a number
        or a scalar tensor (that of `gankit.nn.AdaptiveProbability`), is the probability with which an image gets each
        part of the augmentation; None: it gets all.
        """

    @abstractmethod
    def log(self, name: str, value: Tensor) -> None:
        """Logs a scalar that is not minimised, as ``<phase>/<name>``. It may be NaN; the step waits for nothing."""


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """Draw `n` samples on `device`. `batch` holds what the variant :meth:`~Variant.asks` for, n rows each, as in a
    step. `produces` is the key out of ``Variant.produces`` that is asked for ("" if there is none)."""

    n: int
    batch: Batch
    generator: torch.Generator
    device: torch.device
    spec: DataSpec
    produces: str = "image"

    def noise(self, *shape: int) -> Tensor:
        """Standard normal noise, float32, on `device`."""
        import torch

        return torch.randn(shape, generator=self.generator, device=self.device)


class Preparation(ABC):
    """What :meth:`Variant.prepare` may use, once, before the first step of a new run."""

    networks: Networks
    train: Dataset[Any]
    generator: torch.Generator
    device: torch.device

    @abstractmethod
    def report(self, text: str) -> None:
        """Tells the user a line."""

    @abstractmethod
    def loop(self, total: int, what: str, **state: Any) -> Iterator[int]:
        """The numbers 0 to total - 1, while the user is shown how far `what` ("training the encoder") is.

        An interrupted loop goes on where it stopped when the run is resumed: the networks, the generator and `state`
        (optimisers, generators, whatever has `state_dict` and `load_state_dict`) are then as they were.
        """


class Variant(ABC, Generic[ConfigT]):
    """One kind of GAN. Its docstring heads ``gankit run NAME --help``; ``gankit list`` reads metadata only."""

    Config: ClassVar[type[BaseModel]] = Config
    """Options; names must not be those of the run's own options: such a variant is refused."""
    dataset: ClassVar[str]
    """Name of the dataset used when ``--dataset`` is not given."""
    requires: ClassVar[frozenset[str]] = frozenset({"image"})
    """Keys a batch must have. This, and `produces`, a variant may set on itself where an option says which they are."""
    paired: ClassVar[tuple[str, ...]] = ()
    """Images out of `requires` that belong together, row by row: ``("a", "b")``. Data that draws them independently of
    each other, or would flip one without the other (``Key.of``), is refused."""
    conditions: ClassVar[frozenset[str]] = frozenset()
    """Those of them that `sample` needs: ``{"label"}`` for a class-conditional GAN. More: :meth:`asks`."""
    produces: ClassVar[tuple[str, ...]] = ("image",)
    """Keys under which the data has real samples of the kind that `sample` draws; the first unless asked otherwise.
    A translation from a to b and back: ``("b", "a")``. Empty: the data has none, and nothing is compared with it."""
    random: ClassVar[bool] = True
    """False if `sample` answers the same to the same request whatever the seed: an autoencoder, a translation."""
    keeps: ClassVar[str | None] = None
    """A mask that `sample` is asked with and outside of which it draws what it was given: there ``gankit translate``,
    which must be given one, writes the input's own pixels, at the input's size, but for a rim of one pixel of the
    model."""
    averaged: ClassVar[tuple[str, ...]] = ()
    """Networks of which a moving average is kept; samples are drawn from the average."""
    metric: ClassVar[str | None] = None
    """Which metric of ``gankit eval``, or of `metrics`, picks the best checkpoint."""
    metrics: ClassVar[Mapping[str, Literal["larger", "smaller"]]] = {}
    """The metrics that :meth:`measure` returns, and which values of each are better."""
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
        """The modules, freshly initialised, on the CPU. Raise :class:`UsageError` if `spec` cannot be served.

        All that steps change belongs in them, as parameters or buffers (`gankit.nn.State`, `gankit.nn.ImagePool`).
        """

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """What a step is, in order."""

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        """Samples (request.n, ...), images float in [-1, 1]. Networks are in eval mode, averaged where `averaged` says.

        If not overridden: :meth:`decode` of :meth:`codes`.
        """
        return self.decode(networks, self.codes(request), request)

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        """What `sample` can be asked with to draw `produces`, also what the data lacks: a code, a box, a target class.

        What the user does not give comes from held-out samples, if the data has that key. Of a class that the data
        lacks, or whose key says ``target``, all go in turn; anything else is then missing from ``request.batch``.
        """
        return {name: spec[name] for name in sorted(self.conditions)}

    def codes(self, request: SampleRequest) -> Tensor:
        """What :meth:`decode` draws from, at random, (request.n, ...): noise, as a rule."""
        raise NotImplementedError

    def encode(self, networks: Networks, batch: Batch) -> Tensor:
        """Codes (N, ...) of the samples of `batch`: for ``gankit reconstruct`` and ``gankit interpolate``."""
        raise NotImplementedError

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        """Samples of `codes`, as :meth:`sample` returns them. Where it is defined, runs can be interpolated."""
        raise NotImplementedError

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        """What stands side by side on a sheet, a row a sample, by the words above it; none: the samples alone.

        Images (request.n, C, H, W) in [-1, 1] each; of a mask, which is in [0, 1] inside a step, ``mask * 2 - 1``.
        `request.batch` holds held-out samples of what the variant `requires`, and what is asked for all that `produces`
        names.
        """
        return {}

    def figures(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        """Pictures that are no samples (a plot), uint8 (H, W, 3) each, by name, drawn from the same."""
        return {}

    def measure(self, networks: Networks, batches: Iterable[Batch], generator: torch.Generator) -> dict[str, float]:
        """The values of `metrics`, over held-out `batches` as in a step. Networks are those that samples come from."""
        return {}

    def expect(self) -> Mapping[str, str]:
        """What the curves of a healthy run look like, and how failing shows in them, for ``gankit report`` to say.

        A few plain sentences each: of the run as a whole under ``""``, of a phase or a metric under its name, of what
        is logged under ``phase/term``. `gankit.chance` has those on the usual adversarial losses.
        """
        return {}

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
