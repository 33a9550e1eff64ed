"""The judge: a small classifier trained on a dataset's own real images, which tells what a sample shows.

It has one head for every ``class`` key that describes the images it looks at, sees the train split only, and every
figure it produces is reported together with its accuracy on the test split, which it never saw.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.data.distort import Distortion, distort
from gankit.data.images import at_once, to_float, to_uint8
from gankit.errors import UsageError
from gankit.evaluate.gathered import Gathered
from gankit.evaluate.metrics import reduce_to
from gankit.evaluate.real import RealImages, subset
from gankit.events import Note, OnEvent, ignore, progress
from gankit.random_state import fork_rng

if TYPE_CHECKING:
    from gankit.dataset import Batch

LARGEST = 64
"""Longer side in pixels to which the judge reduces what it is shown."""
MOST = 10_000
"""Most images above that size that a judge is trained on."""
COARSE = 32
"""Longer side above which the second layer halves its maps: a quarter of the work, and as many classes told apart."""


@dataclass(frozen=True)
class FitConfig:
    """How a network that judges is fitted to real images."""

    steps: int = 700
    batch_size: int = 64
    lr: float = 4e-3
    weight_decay: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class JudgeConfig(FitConfig, Distortion):
    """How a judge is made. Part of its identity: a changed value makes another judge."""

    width: int = 32
    shift: float = 0.08
    degrees: float = 10.0
    scale: float = 0.1
    noise: float = 0.05
    version: int = 3
    """Raised when the code below changes what comes out."""


class Judge(nn.Module):
    """Convolutional classifier with one head a class key.

    Args:
        shape: (channels, height, width) of the images it is made for; it takes others too.
        heads: number of classes by class key.
        width: channels of the first layer; 6 x width are the features.
    """

    def __init__(self, shape: tuple[int, int, int], heads: Mapping[str, int], width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _layer(shape[0], width, 5, stride=2),
            _layer(width, 2 * width, 3, stride=2 if max(shape[1:]) > COARSE else 1),
            _layer(2 * width, 3 * width, 3, stride=2),
            _layer(3 * width, 3 * width, 3),
        )
        self.drop = nn.Dropout(0.2)
        # nn.ModuleDict refuses names that are attributes of a module ("type"), hence a list
        self.names = tuple(heads)
        self.heads = nn.ModuleList(nn.Linear(6 * width, n) for n in heads.values())

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] to (N, 6 * width): mean and maximum over the plane of the last layer."""
        maps = self.body(reduce_to(images, LARGEST))
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Features to logits (N, classes) by class key."""
        features = self.drop(features)
        return {name: head(features) for name, head in zip(self.names, self.heads, strict=True)}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, C, H, W) in [-1, 1] to logits (N, classes) by class key."""
        return self.classify(self.features(images))


def train_judge(
    train: RealImages,
    config: JudgeConfig | None = None,
    device: torch.device | str = "cpu",
    tell: OnEvent = ignore,
) -> Judge:
    """A judge in eval mode, trained on `train`. The same seed on the same machine gives the same judge.

    `tell` is told how far it is.

    Raises:
        UsageError: no class key describes the images, or there are none.
    """
    config = config or JudgeConfig()
    if not train.heads:
        raise UsageError(f"A judge needs a class key, and none describes {train.key!r} of this dataset.")
    if len(train) == 0:
        raise UsageError("A judge needs training images, and the train split is empty.")
    started = time.perf_counter()
    device = torch.device(device)
    with fork_rng(device):
        torch.manual_seed(config.seed)
        judge = arrange(Judge(train.shape, train.heads, config.width), device)
        heads, count = ", ".join(train.heads), len(train) if _is_small(train) else min(len(train), MOST)
        tell(Note(text=f"Training a judge on {count} real images ({heads}), once for this data ..."))

        def loss(images: Tensor, classes: Batch, _: torch.Generator) -> Tensor:
            logits = judge(images)
            losses = [
                F.cross_entropy(logits[name], classes[name].to(device), label_smoothing=0.05) for name in judge.names
            ]
            return torch.stack(losses).sum()

        fit(judge, loss, train, config, config, "training the judge", device, tell)
    tell(Note(text=f"The judge is trained ({time.perf_counter() - started:.0f} s)."))
    return judge.eval().requires_grad_(False)


def fit(
    network: nn.Module,
    loss: Callable[[Tensor, Batch, torch.Generator], Tensor],
    train: RealImages,
    config: FitConfig,
    distortion: Distortion,
    what: str,
    device: torch.device,
    tell: OnEvent,
) -> None:
    """Fits `network` to the images of `train`, each a little distorted, by a `loss` of them (N, C, H, W), of what
    describes them, and of a generator for whatever else is random. `what` is what the progress is called."""
    count, read = small(train, tell)
    optimizer = torch.optim.AdamW(
        network.parameters(), config.lr, weight_decay=config.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    draw = torch.Generator().manual_seed(config.seed)  # on the CPU, so that the images do not depend on the device
    size = min(config.batch_size, count)
    order = torch.empty(0, dtype=torch.int64)
    for step in progress(range(config.steps), what, tell):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * ramp(step / config.steps)
        if len(order) < size:
            order = torch.cat([order, torch.randperm(count, generator=draw)])
        indices, order = order[:size], order[size:]
        images, described = read(indices)
        images = distort(images, distortion, draw).to(device)
        found = loss(images.contiguous(memory_format=torch.channels_last), described, draw)
        optimizer.zero_grad(set_to_none=True)
        found.backward()
        optimizer.step()


def small(train: RealImages, tell: OnEvent) -> tuple[int, Callable[[Tensor], tuple[Tensor, Batch]]]:
    """How many images there are to train on, and what reads some of them, no larger than the judge looks at them.

    Images that are larger are read once, no more than :data:`MOST`, and held in 8 bits.
    """
    if _is_small(train):
        return len(train), lambda indices: train.floats(indices, LARGEST)
    rows = subset(len(train), MOST)
    images, classes = Gathered(len(rows)), {name: Gathered(len(rows)) for name in train.described}
    for part in progress(rows.split(at_once(train.shape)), "reducing images to judge by", tell):
        some, described = train.floats(part, LARGEST)
        images.add(to_uint8(some))
        for name, kept in classes.items():
            kept.add(described[name])
    held, known = images.rows(), {name: kept.rows() for name, kept in classes.items()}
    return len(rows), lambda indices: (to_float(held[indices]), {name: known[name][indices] for name in known})


def _is_small(images: RealImages) -> bool:
    return max(images.shape[1:]) <= LARGEST


def ramp(done: float) -> float:
    """Learning rate over a training, relative to its peak: up over the first fifth, then down along a cosine."""
    return done / 0.2 + 0.05 if done < 0.19 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.19) / 0.81)


@torch.no_grad()
def accuracy_on(judge: Judge, data: RealImages, device: torch.device | str, limit: int = 5000) -> dict[str, float]:
    """Fraction of `data` (at most `limit` images) that the judge gets right, by class key."""
    right = dict.fromkeys(judge.names, 0)
    rows = subset(len(data), limit)
    for indices in rows.split(250):
        images, classes = data.floats(indices, LARGEST)
        logits = judge(images.to(device))
        for name in judge.names:
            right[name] += int((logits[name].argmax(1).cpu() == classes[name]).sum())
    return {name: count / len(rows) for name, count in right.items()} if len(rows) else {}


def arrange(judge: Judge, device: torch.device | str) -> Judge:
    """The judge on `device`, channels last. Always so: sums in another order would give other figures."""
    placed: Any = judge.to(device)  # torch's stubs lack `to(memory_format=)` in some versions
    return placed.to(memory_format=torch.channels_last)


def describe(config: JudgeConfig) -> dict[str, Any]:
    """The settings of a judge, JSON-able."""
    return asdict(config)


def _layer(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
