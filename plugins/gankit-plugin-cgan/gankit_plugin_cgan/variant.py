"""Variant ``cgan``: generator and discriminator are both told the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.plugin import Config, DataSpec, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks


class CGANConfig(Config):
    """Options of the variant ``cgan``."""

    network: Literal["mlp", "conv"] = "mlp"
    """Two-layer perceptrons, or convolutional networks."""
    z: int = Field(100, ge=1)
    """Length of the noise vector."""
    hidden: int = Field(128, ge=1)
    """Width of the perceptrons' hidden layer; of the convolutional networks' widest layer."""
    optim: Optim = Optim(lr=1e-3, betas=(0.5, 0.999))
    """Optimiser of both networks."""


class CGAN(Variant[CGANConfig]):
    """Class-conditional GAN: draws images of the class it is asked for (Mirza and Osindero 2014)."""

    Config = CGANConfig
    dataset = "digits"
    requires = frozenset({"image", "label"})
    conditions = frozenset({"label"})
    averaged = ("generator",)
    metric = "accuracy"
    presets: ClassVar = {"default": {"steps": 3000, "batch_size": 128}}

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_cgan import networks

        return networks.build(self.config, spec)

    def phases(self) -> Sequence[Phase]:
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=self.config.optim),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=self.config.optim),
        )

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        return networks["generator"](request.noise(request.n, self.config.z), request.batch["label"])

    def _fake(self, step: Step) -> Tensor:
        """Images for the labels of the batch; both phases see the same ones."""
        generator = step.networks["generator"]
        return step.shared("fake", lambda: generator(step.noise(step.size, self.config.z), step.batch["label"]))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        judge, label = step.networks["discriminator"], step.batch["label"]
        real = judge(step.augment(step.batch["image"]), label)
        fake = judge(step.augment(self._fake(step).detach()), label)
        return {"discriminator": patchgan_d_loss(real, fake, kind="bce")}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        logits = step.networks["discriminator"](step.augment(self._fake(step)), step.batch["label"])
        return {"generator": patchgan_g_loss(logits, kind="bce")}
