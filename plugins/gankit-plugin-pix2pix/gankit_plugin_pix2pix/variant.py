"""Variant ``pix2pix``: a U-Net that is held to the true image, and a discriminator that sees both sides of a pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import Config, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Batch, Networks

OTHER = {"a": "b", "b": "a"}
DEEPEST = 8
"""Halvings of the published generator, whose images have 256x256 pixels."""


class Pix2PixConfig(Config):
    """Options of the variant ``pix2pix``."""

    source: Literal["a", "b"] = "a"
    """What is translated: a into b, or b into a."""
    g_width: int = Field(64, ge=1)
    """Channels after the generator's first layer."""
    downs: int | None = Field(None, ge=2, le=12)
    """How often the generator halves the sides; none: as often as they can be, up to 8 times."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Fraction of the generator's inner values that is dropped, in training and in drawing: its noise."""
    d_width: int = Field(64, ge=1)
    """Channels after the discriminator's first layer."""
    d_layers: int = Field(3, ge=0, le=6)
    """How often the discriminator halves the image: 3 see 70x70 pixels at once, 2 see 34x34, 1 sees 16x16, 0 sees 1."""
    norm: Literal["affine", "instance", "layer", "batch"] = "affine"
    """Norm of both networks: affine is batch norm of one image, as published; instance is that without scale and
    shift; layer is over all channels of an image; batch is of all images of a batch, of averages in drawing."""
    loss: Literal["bce", "lsgan", "hinge"] = "bce"
    """Adversarial loss."""
    adversarial: float = Field(1.0, ge=0)
    """Weight of the adversarial loss; 0 = no discriminator."""
    l1: float = Field(100.0, ge=0)
    """Weight of the mean absolute difference from the true image."""
    optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999), schedule="linear", hold=0.5)
    """Optimiser of both networks."""


_SMALL = {  # 64x64 pixels on two cores
    "steps": 4000,
    "batch_size": 8,
    "sample_n": 8,
    "sample_every": 500,
    "eval_every": 500,
    "ema": 0.99,
    "precision": "auto",
    "g_width": 32,
    "d_width": 32,
    "d_layers": 2,
    "augment.flip": True,
    "data.paired": True,
    "l1": 330.0,
}


class Pix2Pix(Variant[Pix2PixConfig]):
    """Translates images, and learns it from pairs (Isola et al. 2017)."""

    Config = Pix2PixConfig
    dataset = "earth"
    requires = frozenset({"a", "b"})
    paired = ("a", "b")
    produces = ("b",)
    averaged = ("generator",)
    metric = "swd"
    metrics: ClassVar = {"l1": "smaller", "psnr": "larger"}
    presets: ClassVar = {
        "default": _SMALL,
        # the same generator, held to the true image and to nothing else: what the discriminator is worth
        "l1": {**_SMALL, "adversarial": 0.0},
        # the paper's networks and setting, for 256x256: batch norm of batches of one image is the norm `affine`
        "paper": {
            "steps": 200_000,
            "batch_size": 1,
            "sample_n": 4,
            "sample_every": 1000,
            "ema": 0.0,
            "augment.flip": True,
            "data.paired": True,
            "data.size": 256,
            "data.scale": 5400,  # of the Earth: what is between two borders of its splits
        },
    }

    def __init__(self, config: Pix2PixConfig) -> None:
        super().__init__(config)
        self.source, self.target = config.source, OTHER[config.source]
        self.produces = (self.target,)
        if not config.adversarial:  # blurred by what it learns from: judged by that
            self.metric = "l1"

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit.nn import PatchDiscriminator, UNetGenerator
        from gankit.nn.init import init_normal

        c = self.config
        (inputs, height, width), (outputs, *other) = spec.shape_of(self.source), spec.shape_of(self.target)
        if [height, width] != other:
            raise UsageError(
                f"pix2pix needs a and b of one size; {self.source} is {width}x{height}, "
                f"{self.target} {other[1]}x{other[0]}."
            )
        downs = self._downs(height, width)
        generator = init_normal(UNetGenerator(inputs, outputs, c.g_width, downs, c.norm, c.dropout))
        self.random = generator.random
        if not c.adversarial:
            return {"generator": generator}
        if c.d_layers and min(height, width) >> c.d_layers < 3:
            raise UsageError(
                f"d_layers = {c.d_layers}: nothing is left of {width}x{height} pixels. "
                f"Choose fewer ({give('d_layers', 1)})."
            )
        judge = init_normal(PatchDiscriminator(inputs + outputs, c.d_width, c.d_layers, c.norm))
        return {"generator": generator, "discriminator": judge}

    def _downs(self, height: int, width: int) -> int:
        """How often the sides are halved; :class:`UsageError` if they cannot be."""
        from gankit.nn.unet import halvings

        most = halvings(height, width)
        wanted = self.config.downs
        if most < 2 or (wanted or 0) > most:
            factor = 4 if wanted is None else 2**wanted
            text = f"pix2pix takes sides that {factor} divides; those of the data are {width}x{height}."
            fewer = f", or downs ({give('downs', most)})" if most >= 2 else ""
            raise UsageError(f"{text} Choose another size ({give('data.size', 64)}){fewer}.")
        return min(most, DEEPEST) if wanted is None else wanted

    def phases(self) -> Sequence[Phase]:
        optim = self.config.optim
        generator = Phase(name="generator", updates=("generator",), loss=self._generator, optim=optim)
        if not self.config.adversarial:
            return (generator,)
        judge = Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=optim)
        return (judge, generator)

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        c = self.config
        found = {
            "generator/l1": f"The mean absolute difference from the true image, times {c.l1:g}: it falls throughout, "
            "fast at first. Of the terms it alone says that a translation is that of its own input.",
            "l1": "Against the true images of held-out pairs, in [-1, 1]. Default runs on earth end at 0.180 to "
            "0.182; the training crop whose input is nearest has 0.269.",
            "swd": "How real patches look: 45 to 48 for default runs on earth, 97 without a discriminator.",
        }
        if not c.adversarial:
            return found | {
                "": "Without a discriminator the one loss falls, and images get nearer to the truth and blurred."
            }
        half = 1.0 if c.loss == "lsgan" else 0.5
        return found | {
            "": "l1 says whether translations are right, swd whether they look real; the adversarial losses whether "
            "both networks still learn.",
            "discriminator": chance.discriminator(c.loss, half),
            "generator/adversarial": chance.generator(c.loss, c.adversarial),
        }

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        return {self.source: spec[self.source]}

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        return self._translated(networks, request.batch, request.generator)

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        there = self._translated(networks, request.batch, request.generator)
        return {
            self.source: request.batch[self.source],
            self.source + self.target: there,
            self.target: request.batch[self.target],
        }

    def measure(self, networks: Networks, batches: Iterable[Batch], generator: torch.Generator) -> dict[str, float]:
        """`l1`: mean absolute difference from the true images, in [-1, 1]; `psnr`: in decibels, a mean over images."""
        absolute, decibels, seen = 0.0, 0.0, 0
        for batch in batches:
            difference = (self._translated(networks, batch, generator) - batch[self.target]).float().flatten(1)
            absolute += float(difference.abs().mean(1).sum())
            # values go from -1 to 1; of an image without any difference the figure would be infinite
            decibels += float((4 / difference.square().mean(1).clamp_min(1e-10)).log10().mul(10).sum())
            seen += len(difference)
        return {"l1": absolute / seen, "psnr": decibels / seen}

    def _translated(self, networks: Networks, batch: Batch, generator: torch.Generator) -> Tensor:
        return networks["generator"](batch[self.source], generator)

    def _fake(self, step: Step) -> Tensor:
        """Translations of the batch; both phases see the same."""
        return step.shared("fake", lambda: self._translated(step.networks, step.batch, step.generator))

    def _judged(self, step: Step, *images: Tensor) -> Sequence[Tensor]:
        """What the discriminator says of each of `images`, beside what they are translations of."""
        import torch

        judge, pairs = step.networks["discriminator"], []
        for one in images:
            target, source = step.augment(one, step.batch[self.source])
            pairs.append(torch.cat([source, target], 1))
        if self.config.norm == "batch":  # whose statistics are of either kind by itself
            return [judge(pair) for pair in pairs]
        return judge(torch.cat(pairs)).chunk(len(pairs))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        real, fake = self._judged(step, step.batch[self.target], self._fake(step).detach())
        # the paper halves it, to slow the discriminator down; lsgan comes halved
        half = 1.0 if self.config.loss == "lsgan" else 0.5
        return {"loss": half * patchgan_d_loss(real, fake, self.config.loss)}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        c, fake = self.config, self._fake(step)
        terms = {"l1": c.l1 * (fake - step.batch[self.target]).abs().mean()}
        if c.adversarial:
            (judged,) = self._judged(step, fake)
            terms["adversarial"] = c.adversarial * patchgan_g_loss(judged, c.loss)
        return terms
