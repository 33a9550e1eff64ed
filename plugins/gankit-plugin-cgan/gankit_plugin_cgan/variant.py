"""Variant ``cgan``: generator and discriminator are both told the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.plugin import Config, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks

_RUN = {"batch_size": 128, "sample_n": 80, "eval_every": 2500, "eval_n": 1000}


class CGANConfig(Config):
    """Options of the variant ``cgan``."""

    network: Literal["mlp", "conv"] = "mlp"
    """Two-layer perceptrons, or convolutional networks."""
    z: int = Field(100, ge=1)
    """Length of the noise vector."""
    class_key: str = ""
    """Which classes it is told, where the data has several kinds; none: `label`, or the only ones."""
    hidden: int = Field(256, ge=1)
    """Width of the perceptrons' hidden layer; of the convolutional networks' widest layer."""
    label_scale: float = Field(10.0, gt=0)
    """What the perceptrons' one-hot label is multiplied by. At 1 it weighs little beside a thousand pixels."""
    noise: float = Field(0.3, ge=0)
    """Standard deviation of the noise added to what the discriminator sees; it keeps it from learning by heart."""
    optim: Optim = Optim(lr=1e-3, betas=(0.5, 0.999))
    """Optimiser of both networks."""


class CGAN(Variant[CGANConfig]):
    """Class-conditional GAN: draws images of the class it is asked for (Mirza and Osindero 2014)."""

    Config = CGANConfig
    dataset = "digits"
    averaged = ("generator",)
    metric = "accuracy"
    presets: ClassVar = {
        "default": _RUN | {"steps": 5000},
        # the textbook's setting: narrower, the label as it is, no noise, no averaging
        "plain": _RUN | {"steps": 5000, "hidden": 128, "label_scale": 1.0, "noise": 0.0, "ema": 0.0, "data.size": 28},
        "conv": _RUN | {"steps": 2000, "batch_size": 64, "network": "conv", "hidden": 64, "optim.lr": 5e-4},
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_cgan.networks import build

        return build(self.config, spec)

    def phases(self) -> Sequence[Phase]:
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=self.config.optim),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=self.config.optim),
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        return {
            "": "Whether the label is heeded does not show in the losses, but in accuracy and in the sheet, where "
            "samples of a class stand together. With a label_scale of 1 perceptrons ignored it for the first "
            "thousands of steps (accuracy 0.15 after 1,500 steps, with 10 it was 0.93).",
            "discriminator": chance.discriminator("bce"),
            "generator": chance.generator("bce"),
            "accuracy": "A default run on digits ends near 0.99; what is missing in one class alone is in "
            "diversity_min, and in the sheet.",
        }

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        key = spec.class_key(self.config.class_key)
        return {key: spec[key]}

    def codes(self, request: SampleRequest) -> Tensor:
        return request.noise(request.n, self.config.z)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["generator"](codes, request.batch[request.spec.class_key(self.config.class_key)])

    def _fake(self, step: Step) -> Tensor:
        """Images for the labels of the batch; both phases see the same ones."""
        generator = step.networks["generator"]
        return step.shared("fake", lambda: generator(step.noise(step.size, self.config.z), self._label(step)))

    def _label(self, step: Step) -> Tensor:
        return step.batch[step.spec.class_key(self.config.class_key)]

    def _judged(self, step: Step, images: Tensor) -> Tensor:
        """The discriminator's logits, (N, 1), for images that are said to show the labels of the batch."""
        seen = step.augment(images)
        if self.config.noise:
            seen = seen + self.config.noise * step.noise(*seen.shape)
        return step.networks["discriminator"](seen, self._label(step))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        real, fake = self._judged(step, step.batch["image"]), self._judged(step, self._fake(step).detach())
        return {"discriminator": patchgan_d_loss(real, fake, kind="bce")}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        return {"generator": patchgan_g_loss(self._judged(step, self._fake(step)), kind="bce")}
