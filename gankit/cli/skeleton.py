"""What ``gankit plugins new`` writes: a distribution with one small variant and one dataset, both working."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from gankit.discovery.entry_points import datasets, variants
from gankit.errors import UsageError
from gankit.version import __version__

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "gankit-plugin-NAME"
version = "0.1.0"
description = "A GAN for gankit"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["gankit>=SERIES"]

[project.entry-points."gankit.plugins.v1"]
NAME = "MODULE:CLASS"

[project.entry-points."gankit.datasets.v1"]
NAME-discs = "MODULE:Discs"

[tool.setuptools.packages.find]
include = ["MODULE*"]
"""

README = """\
# gankit-plugin-NAME

    pip install -e .
    gankit plugins check NAME
    gankit run NAME
    gankit sample runs/NAME-NAME-discs
"""

MODULE = '''\
"""Plugin ``NAME``: a GAN of fully connected layers, and made-up images of discs to train it on."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from gankit.ops import patchgan_d_loss, patchgan_g_loss
from gankit.plugin import Config, Dataset, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant


class Discs(Dataset):
    """White discs on black: 4,096 to train on, 512 to test with."""

    class Config(Config):
        size: int = Field(16, ge=8, le=256)
        """Width and height of an image in pixels."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={"image": Key(kind="image", shape=(1, self.config.size, self.config.size))})

    def __len__(self) -> int:
        return 4096 if self.split == "train" else 512

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        # centre and radius follow from the index alone; the test split goes on where the training split ends
        numbers = indices + (4096 if self.split == "test" else 0)
        x, y, radius = (torch.frac(numbers * step).view(-1, 1, 1) for step in (0.6180, 0.7549, 0.5698))
        grid = torch.linspace(0, 1, self.config.size)
        far = (grid - 0.3 - 0.4 * x) ** 2 + (grid.view(-1, 1) - 0.3 - 0.4 * y) ** 2 > (0.1 + 0.2 * radius) ** 2
        return {"image": (~far).unsqueeze(1).to(torch.uint8) * 255}


class CLASS(Variant):
    """A GAN of fully connected layers."""

    class Config(Config):
        z: int = Field(32, ge=1)
        """Length of the noise vector."""
        hidden: int = Field(128, ge=1)
        """Width of the hidden layers."""
        optim: Optim = Optim(lr=1e-3)
        """Optimiser of both networks."""

    dataset = "NAME-discs"
    averaged = ("generator",)
    presets = {"default": {"steps": 2000, "batch_size": 64}}

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        channels, height, width = spec.image_shape
        z, hidden, pixels = self.config.z, self.config.hidden, channels * height * width
        generator = nn.Sequential(
            *(nn.Linear(z, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, pixels), nn.Tanh()),
            nn.Unflatten(1, (channels, height, width)),
        )
        discriminator = nn.Sequential(
            *(nn.Flatten(), nn.Linear(pixels, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1)),
        )
        return {"generator": generator, "discriminator": discriminator}

    def phases(self) -> list[Phase]:
        optim = self.config.optim
        return [
            Phase(name="discriminator", updates=("discriminator",), loss=self.judge, optim=optim),
            Phase(name="generator", updates=("generator",), loss=self.fool, optim=optim),
        ]

    def fakes(self, step: Step) -> Tensor:
        """Drawn once a step, used by both phases."""
        return step.shared("fakes", lambda: step.networks["generator"](step.noise(step.size, self.config.z)))

    def judge(self, step: Step) -> dict[str, Tensor]:
        discriminator = step.networks["discriminator"]
        real = discriminator(step.augment(step.batch["image"]))
        fake = discriminator(step.augment(self.fakes(step).detach()))
        return {"adversarial": patchgan_d_loss(real, fake, kind="bce")}

    def fool(self, step: Step) -> dict[str, Tensor]:
        logits = step.networks["discriminator"](step.augment(self.fakes(step)))
        return {"adversarial": patchgan_g_loss(logits, kind="bce")}

    def sample(self, networks: dict[str, nn.Module], request: SampleRequest) -> Tensor:
        return networks["generator"](request.noise(request.n, self.config.z))
'''

_TAKEN = frozenset({"Config", "Dataset", "Discs", "Key", "Field", "Optim", "Phase", "Step", "Tensor", "Variant"})
"""Names that the module uses already."""


def write(name: str, parent: Path) -> tuple[Path, list[Path]]:
    """Make the directory ``gankit-plugin-<name>`` in `parent`; (the directory, its files). Overwrites nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"plugin name {name!r}: use lower-case letters, digits and single dashes, like my-gan")
    if found := variants().get(name) or datasets().get(f"{name}-discs"):
        raise UsageError(f"{name!r} is taken by {found.distribution} {found.version}; choose another name")
    module = f"gankit_plugin_{name.replace('-', '_')}"
    title = "".join(part.capitalize() for part in name.split("-"))
    title += "GAN" if title in _TAKEN or keyword.iskeyword(title) else ""
    series = ".".join(__version__.split(".")[:2])  # no upper end: a gankit that breaks plugins reads another group
    words = {"NAME": name, "MODULE": module, "CLASS": title, "SERIES": series}
    folder = parent / f"gankit-plugin-{name}"
    texts = {
        folder / "pyproject.toml": PYPROJECT,
        folder / "README.md": README,
        folder / module / "__init__.py": MODULE,
    }
    try:
        folder.mkdir(parents=True)
        (folder / module).mkdir()
        for path, text in texts.items():
            path.write_text(re.sub("|".join(words), lambda match: words[match[0]], text), encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"{folder} exists already; choose another --dir or name") from None
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; choose another --dir") from None
    return folder, list(texts)
