"""A GAN of a few hundred weights, for the trainer's tests; also a script that trains it, to be killed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import gankit
from gankit.plugin import Config, Dataset, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    from gankit.plugin import Networks


class BlobsConfig(Config):
    """Blobs."""

    count: int = Field(20, ge=0, lt=2**63 - 1)
    """Samples in the training split."""
    size: int = Field(8, ge=1)
    """Pixels a side."""


class Blobs(Dataset[BlobsConfig]):
    """Grey squares whose brightness is their class."""

    Config = BlobsConfig

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(1, size, size)),
                "label": Key(kind="class", names=("dark", "grey", "light")),
            }
        )

    def __len__(self) -> int:
        return self.config.count if self.split == "train" else 7

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        label = indices % 3
        level = (label * 100 + indices % 7).to(torch.uint8)
        size = self.config.size
        return {"image": level.view(-1, 1, 1, 1).expand(-1, 1, size, size).contiguous(), "label": label}


class TinyConfig(Config):
    """Options of the tiny GAN."""

    hidden: int = Field(8, ge=1)
    """Units of the hidden layers."""
    optim: Optim = Optim(lr=1e-3)
    """The optimiser of both."""
    repeat: int = Field(1, ge=1)
    """Turns of the discriminator a step."""
    every: int = Field(1, ge=1)
    """The generator learns on every n-th step."""
    poison: int = Field(-1, ge=-1)
    """Step whose generator loss is NaN."""


class Tiny(Variant[TinyConfig]):
    """A tiny conditional GAN with batch norm and dropout."""

    Config = TinyConfig
    dataset = "blobs"
    requires = frozenset({"image", "label"})
    conditions = frozenset({"label"})
    averaged = ("generator",)

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        size, hidden = spec.image_shape[1], self.config.hidden
        self.classes = spec.classes()
        generator = nn.Sequential(
            nn.Linear(4 + self.classes, hidden * 4), nn.Unflatten(1, (hidden, 2, 2)), nn.BatchNorm2d(hidden), nn.ReLU()
        )
        generator.extend([nn.Upsample((size, size)), nn.Conv2d(hidden, 1, 3, padding=1), nn.Tanh()])
        discriminator = nn.Sequential(nn.Conv2d(1, hidden, 3, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Flatten())
        discriminator.append(nn.LazyLinear(1))
        discriminator(torch.zeros(1, 1, size, size))
        return {"generator": generator, "discriminator": discriminator}

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return [
            Phase(
                name="discriminator",
                updates=("discriminator",),
                loss=self.discriminator_loss,
                optim=c.optim,
                repeat=c.repeat,
            ),
            Phase(name="generator", updates=("generator",), loss=self.generator_loss, optim=c.optim, every=c.every),
        ]

    def fake(self, step: Step) -> Tensor:
        label = F.one_hot(step.batch["label"], self.classes).float()
        return step.networks["generator"](torch.cat([step.noise(step.size, 4), label], 1))

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        fake = step.shared("fake", lambda: self.fake(step)).detach()
        d = step.networks["discriminator"]
        real = step.augment(step.batch["image"])
        return {"real": F.softplus(-d(real)).mean(), "fake": F.softplus(d(step.augment(fake))).mean()}

    def generator_loss(self, step: Step) -> dict[str, Tensor]:
        fake = step.shared("fake", lambda: self.fake(step))
        loss = F.softplus(-step.networks["discriminator"](step.augment(fake))).mean()
        return {"adversarial": loss * float("nan") if step.index == self.config.poison else loss}

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        classes = networks["generator"][0].in_features - 4
        label = F.one_hot(request.batch["label"], classes).float()
        return networks["generator"](torch.cat([request.noise(request.n, 4), label], 1))


SMALL: dict[str, Any] = {
    "steps": 12,
    "batch_size": 8,
    "sample_n": 6,
    "log_every": 4,
    "checkpoint_every": 5,
    "sample_every": 6,
    "device": "cpu",
}


def main() -> None:
    """``tiny_gan.py train OUT STEPS`` or ``tiny_gan.py resume RUN``."""
    torch.set_num_threads(1)
    if sys.argv[1] == "train":
        options = {**SMALL, "steps": int(sys.argv[3]), "repeat": 2, "checkpoint_every": 3, "sample_every": 0}
        gankit.train(Tiny, Blobs(BlobsConfig()), out=sys.argv[2], **options)
    else:
        gankit.open_run(Path(sys.argv[2]), Tiny, Blobs).resume()


if __name__ == "__main__":
    main()
