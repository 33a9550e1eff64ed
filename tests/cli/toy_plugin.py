"""The plugin that tests make up, and spoil: TOY stands for its name."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from gankit.ops import patchgan_d_loss, patchgan_g_loss
from gankit.plugin import Config, Dataset, DataSpec, Key, Optim, Phase, Variant


class Dots(Dataset):
    class Config(Config):
        size: int = Field(8, ge=4)
        """Width and height."""

    in_memory = True

    @property
    def spec(self):
        image = Key(kind="image", shape=(1, self.config.size, self.config.size))
        return DataSpec(keys={"image": image, "label": Key(kind="class", names=("dark", "light"))})

    def __len__(self):
        return 40 if self.split == "train" else 10

    def batch(self, indices):
        images = (indices * 37 % 100).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, *self.spec.image_shape[1:])
        label = indices % 2
        images = images + 100 * label.to(torch.uint8).view(-1, 1, 1, 1)
        return {"image": images, "label": label}


class Toy(Variant):
    """A toy.

    [bracketed] text is text.
    """

    class Config(Config):
        hidden: int = Field(8, ge=1, le=64)
        """Width."""
        kind: Literal["plain", "fancy"] = "plain"
        """Kind [of toy]."""
        spectral: bool = False
        """A flag."""
        widths: tuple[int, ...] = (4, 8)
        """Some numbers."""
        limit: float | None = None
        """May be absent."""
        optim: Optim = Optim(lr=1e-3, betas=(0.5, 0.9))
        """Optimiser."""

    dataset = "TOY-dots"
    requires = frozenset({"image", "label"})
    conditions = frozenset({"label"})
    averaged = ("generator",)
    presets = {  # noqa: RUF012
        "default": {"steps": 6, "batch_size": 4, "log_every": 2, "sample_n": 4, "checkpoint_every": 3, "workers": 0},
        "wide": {"steps": 3, "hidden": 16, "optim.lr": 0.5, "data.size": 12},
    }

    def networks(self, spec):
        self.shape, self.classes, hidden = spec.image_shape, spec.classes("label"), self.config.hidden
        pixels = self.shape[0] * self.shape[1] * self.shape[2]
        return {
            "generator": nn.Sequential(
                nn.Linear(4 + self.classes, hidden),
                nn.ReLU(),
                nn.Linear(hidden, pixels),
                nn.Tanh(),
                nn.Unflatten(1, self.shape),
            ),
            "discriminator": nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 1)),
        }

    def phases(self):
        return [
            Phase(name="discriminator", updates=("discriminator",), loss=self.judge, optim=self.config.optim),
            Phase(name="generator", updates=("generator",), loss=self.fool, optim=self.config.optim),
        ]

    def told(self, noise, label):
        return torch.cat([noise, nn.functional.one_hot(label, self.classes).float()], 1)

    def fakes(self, step):
        def draw():
            return step.networks["generator"](self.told(step.noise(step.size, 4), step.batch["label"]))

        return step.shared("fakes", draw)

    def judge(self, step):
        discriminator = step.networks["discriminator"]
        return {"loss": patchgan_d_loss(discriminator(step.batch["image"]), discriminator(self.fakes(step).detach()))}

    def fool(self, step):
        return {"loss": patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))}

    def sample(self, networks, request):
        return networks["generator"](self.told(request.noise(request.n, 4), request.batch["label"]))
