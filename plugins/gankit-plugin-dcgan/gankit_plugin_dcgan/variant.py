"""Variant ``dcgan``: a GAN of strided convolutions with batch norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.plugin import Config, DataSpec, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks


class DCGANConfig(Config):
    """Options of the variant ``dcgan``."""

    z: int = Field(100, ge=1)
    """Length of the noise vector."""
    noise: Literal["normal", "uniform"] = "normal"
    """Distribution of the noise: standard normal, or uniform in [-1, 1]."""
    g_width: int = Field(64, ge=1)
    """Channels of the generator's layer before the image; each layer further in has twice as many, up to 8 times."""
    d_width: int = Field(64, ge=1)
    """Channels of the discriminator's first layer; each layer further in has twice as many, up to 8 times."""
    kernel: Literal[4, 5] = 4
    """Side of the convolutions' kernels."""
    bias: bool = False
    """Biases in the layers that no batch norm follows."""
    g_turns: int = Field(1, ge=1)
    """Updates of the generator for each one of the discriminator."""
    loss: Literal["bce", "lsgan", "hinge"] = "bce"
    """Adversarial loss."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999))
    """Optimiser of both networks."""


_SMALL = {
    "steps": 2000,
    "batch_size": 32,
    "sample_every": 200,
    "eval_every": 500,
    "data.size": 32,
    "g_width": 32,
    "d_width": 32,
}
# For a folder of tens or hundreds of images, which a discriminator would soon know by heart.
_FEW_IMAGES = {
    "steps": 5000,
    "batch_size": 32,
    "sample_every": 250,
    "eval_every": 500,
    "augment.flip": True,
    "augment.diff": ("color", "translation", "cutout"),
}
# Faces of cartoon figures, 96 x 96 brought to 48 x 48; about 20 epochs of a set of 51,223.
_FACES_48 = {
    "steps": 16_000,
    "batch_size": 64,
    "eval_every": 1000,
    "data.size": 48,
    "kernel": 5,
    "bias": True,
    "noise": "uniform",
    "g_turns": 2,
}


class DCGAN(Variant[DCGANConfig]):
    """Deep convolutional GAN: draws images like those of a folder (Radford et al. 2016)."""

    Config = DCGANConfig
    dataset = "folder"
    averaged = ("generator",)
    metric = "swd"
    presets: ClassVar = {
        "default": {"steps": 10_000, "batch_size": 64, "eval_every": 1000},
        "small": _SMALL,
        "few": _FEW_IMAGES,
        "faces48": _FACES_48,
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_dcgan import networks

        return networks.build(self.config, spec)

    def phases(self) -> Sequence[Phase]:
        config = self.config
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=config.optim),
            Phase(
                name="generator",
                updates=("generator",),
                loss=self._generator,
                optim=config.optim,
                repeat=config.g_turns,
            ),
        )

    def codes(self, request: SampleRequest) -> Tensor:
        return self._noise(request, request.n)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["generator"](codes)

    def _noise(self, source: Step | SampleRequest, number: int) -> Tensor:
        if self.config.noise == "normal":
            return source.noise(number, self.config.z)
        import torch

        draw = torch.rand(number, self.config.z, generator=source.generator, device=source.device)
        return draw.mul_(2).sub_(1)

    def _fake(self, step: Step) -> Tensor:
        """Generated images; a generator's turn that follows the discriminator's in a step sees the same."""
        return step.shared("fake", lambda: step.networks["generator"](self._noise(step, step.size)))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        discriminator = step.networks["discriminator"]
        fake = discriminator(step.augment(self._fake(step).detach()))
        real = discriminator(step.augment(step.batch["image"]))
        return {"d": patchgan_d_loss(real, fake, self.config.loss)}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        fake = step.networks["discriminator"](step.augment(self._fake(step)))
        return {"g": patchgan_g_loss(fake, self.config.loss)}
