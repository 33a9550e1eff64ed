"""Variant ``dcgan``: a GAN of strided convolutions with batch norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Biases in all convolutions, those before a batch norm, which cancels them, among them."""
    g_last_norm: bool = True
    """Batch norm in the generator's last hidden layer, too."""
    g_turns: int = Field(1, ge=1, le=10)
    """Updates of the generator for each one of the discriminator, all with the same noise."""
    loss: Literal["bce", "lsgan", "hinge"] = "bce"
    """Adversarial loss."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999))
    """Optimiser of both networks."""


_CPU = {"batch_size": 32, "g_width": 32, "d_width": 32, "sample_every": 500, "eval_every": 1000}
_SMALL = {**_CPU, "steps": 2000, "sample_every": 200, "eval_every": 500, "data.size": 32}
# For tens or hundreds of images, which a discriminator would soon know by heart.
_FEW_IMAGES = {
    **_CPU,
    "steps": 4000,
    "g_width": 48,
    "optim.lr": 5e-4,
    "optim.schedule": "linear",
    "optim.hold": 0.4,
    "optim.lr_end": 5e-5,
    "augment.flip": True,
    "augment.diff": ("color", "translation", "cutout"),
}
_DEFAULT = {**_FEW_IMAGES, "data.size": 48}
# A tutorial on faces of cartoon figures, 96 x 96 brought to 48 x 48: 20 epochs of the 8,903 that it trains on.
_FACES = {
    "steps": 2780,
    "batch_size": 64,
    "sample_every": 139,
    "eval_every": 695,
    "ema": 0.0,
    "data.size": 48,
    "kernel": 5,
    "bias": True,
    "g_last_norm": False,
    "noise": "uniform",
    "g_turns": 2,
}


class DCGAN(Variant[DCGANConfig]):
    """Deep convolutional GAN: draws images like those of a folder (Radford et al. 2016)."""

    Config = DCGANConfig
    dataset = "emoji-faces"
    averaged = ("generator",)
    metric = "swd"
    presets: ClassVar = {
        "default": _DEFAULT,
        "paper": {
            "steps": 10_000,
            "batch_size": 128,
            "eval_every": 1000,
            "ema": 0.0,
            "noise": "uniform",
            "data.size": 64,
        },
        "lsgan": {**_DEFAULT, "loss": "lsgan"},
        "small": _SMALL,
        "few": _FEW_IMAGES,
        "faces": _FACES,
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_dcgan import networks

        return networks.build(self.config, spec)

    def phases(self) -> Sequence[Phase]:
        optim = self.config.optim
        first = Phase(name="generator", updates=("generator",), loss=self._generator, optim=optim)
        more = (
            Phase(name=f"generator {turn}", updates=("generator",), loss=self._generator_again, shares="generator")
            for turn in range(2, self.config.g_turns + 1)
        )
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=optim),
            first,
            *more,
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        turns = [f"generator {turn}" for turn in range(2, self.config.g_turns + 1)]
        return {
            "": "Losses say whether both networks still learn, swd and the sheets whether the samples get better: "
            "fid_judge of default runs on emoji-faces was 21 to 22 at step 1,000, 10 to 17 at 2,000, 11 to 14 at "
            "3,000 and 12 to 16 at 4,000. One picture in many tints on grey is a generator at its beginning; one "
            "picture over and over later on is collapse, and low diversity says it.",
            "discriminator": chance.discriminator(self.config.loss),
            "generator": chance.generator(self.config.loss),
            **dict.fromkeys(turns, "The same of the generator after its turn before."),
            "swd": "Where it rises again while the losses go on, the discriminator has learnt its images by heart: "
            "augment.diff helps, or fewer steps.",
        }

    def codes(self, request: SampleRequest) -> Tensor:
        return self._noise(request, request.n)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["generator"](codes)

    def _noise(self, source: Step | SampleRequest, number: int) -> Tensor:
        if self.config.noise == "normal":
            return source.noise(number, self.config.z)
        from gankit import whole_batch

        draw = whole_batch.rand(number, self.config.z, generator=source.generator, device=source.device)
        return draw.mul_(2).sub_(1)

    def _fake(self, step: Step) -> Tensor:
        """Generated images, the same for the discriminator and for the generator's first turn."""
        return step.shared("fake", lambda: step.networks["generator"](self._step_noise(step)))

    def _step_noise(self, step: Step) -> Tensor:
        return step.shared("noise", lambda: self._noise(step, step.size))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        discriminator = step.networks["discriminator"]
        fake = discriminator(step.augment(self._fake(step).detach()))
        real = discriminator(step.augment(step.batch["image"]))
        return {"d": patchgan_d_loss(real, fake, self.config.loss)}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        return self._fooled(step, self._fake(step))

    def _generator_again(self, step: Step) -> dict[str, Tensor]:
        """Of the generator as the turn before has left it."""
        return self._fooled(step, step.networks["generator"](self._step_noise(step)))

    def _fooled(self, step: Step, images: Tensor) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        return {"g": patchgan_g_loss(step.networks["discriminator"](step.augment(images)), self.config.loss)}
