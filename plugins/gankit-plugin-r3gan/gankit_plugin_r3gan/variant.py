"""Variant ``r3gan``: relativistic pairs, zero-centred penalties on reals and fakes, networks without norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from gankit.options.spelling import give
from gankit.plugin import Config, DataSpec, Key, Optim, Phase, Preparation, SampleRequest, Step, UsageError, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks


class R3GANConfig(Config):
    """Options of the variant ``r3gan``."""

    z: int = Field(64, ge=1)
    """Length of the noise vector, and of the embedding of a class."""
    width: int = Field(64, ge=1)
    """Channels next to the image; twice as many with each halving of the size, up to four times."""
    widths: tuple[int, ...] | None = None
    """Channels of each size, the smallest first, in place of `width`."""
    blocks: int = Field(1, ge=1)
    """Residual blocks at each size."""
    group: int = Field(16, ge=1)
    """Channels of a group of the 3x3 convolutions."""
    conditional: bool = False
    """Draw the class that is asked for."""
    class_key: str = ""
    """Of conditional: which classes, where the data has several kinds; none: `label`, or the only ones."""
    san: bool = False
    """Discriminator whose last layer is a direction of length 1, trained apart (SAN)."""
    penalty: Literal["exact", "approx"] = "exact"
    """Gradient penalties by second derivatives, or by finite differences along one random direction."""
    penalty_step: float | None = Field(None, gt=0, le=1)
    """Length of a finite difference, as a standard deviation a pixel; none: 0.01, or 0.1 in 16 bits."""
    gamma: float | None = Field(None, ge=0)
    """Weight of the penalties at the start; none: that at 32x32, times as many pixels as the images have of those."""
    gamma_at_32: float = Field(1.0, ge=0)
    """What it is at 32x32 where it is not given."""
    gamma_end: float = Field(0.1, ge=0, le=1)
    """What is left of it at the end of the ramp, as a fraction."""
    augment_p: float = Field(0.3, ge=0, le=1)
    """Probability, from the end of the ramp on, of each part of the augmentation that ``--augment.diff`` names."""
    adaptive: bool = False
    """Let that probability follow how sure the discriminator is of its pairs instead (ADA)."""
    adaptive_images: int = Field(20_000, ge=1)
    """Of adaptive: images over which the probability goes from 0 to 1 if it has to."""
    optim: Optim = Optim(
        lr=2e-4, lr_end=5e-5, betas=(0.0, 0.9), betas_end=(0.0, 0.99), schedule="cosine", hold=0.0, until=0.5
    )
    """Optimiser of both networks; gamma and the probability of augmentation go their way by the time `until` too."""

    @field_validator("widths")
    @classmethod
    def _widths(cls, widths: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if widths is not None and (not widths or min(widths) < 1):
            raise ValueError("give at least one, each at least 1")
        return widths


_PAPER = {  # CIFAR-10, of 32x32 pixels: appendix E of the paper and its code; 200 million images
    "steps": 390_625,
    "batch_size": 512,
    "widths": (768, 768, 768, 768),
    "blocks": 2,
    "gamma": 0.05,
    "augment_p": 0.55,
    "augment.flip": True,
    "augment.diff": ("color", "translation", "cutout"),
    "optim.until": 0.1,
    "ema": 0.999929,
    "ema_start": 0.0,
    "ema_until": 0.025,
    "sample_every": 5000,
    "checkpoint_every": 5000,
}


class R3GAN(Variant[R3GANConfig]):
    """The modern baseline of GANs: relativistic pairs, R1 and R2, no normalisation (Huang et al. 2024)."""

    Config = R3GANConfig
    dataset = "mnist"
    averaged = ("generator",)
    metric = "swd"
    presets: ClassVar = {
        "default": {
            "steps": 4000,
            "batch_size": 16,
            "precision": "auto",
            "width": 32,
            "gamma_at_32": 10.0,
            "optim.lr": 2e-3,
            "optim.lr_end": 2.5e-4,
            "ema": 0.995,
            "data.size": 32,
            "sample_every": 500,
            "eval_every": 500,
            "eval_n": 1000,
        },
        "paper": _PAPER,
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit.nn import AdaptiveProbability
        from gankit_plugin_r3gan.networks import build

        networks = build(self.config, spec)
        return networks | (
            {"ada": AdaptiveProbability(images=self.config.adaptive_images)} if self.config.adaptive else {}
        )

    def phases(self) -> Sequence[Phase]:
        optim = self.config.optim
        after = self._unit_length if self.config.san else None
        return (
            Phase(
                name="discriminator",
                updates=("discriminator",),
                loss=self._discriminator,
                optim=optim,
                after=after,
            ),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=optim),
        )

    def prepare(self, preparation: Preparation) -> None:
        spec = preparation.train.spec
        if self.config.gamma is None:
            _, height, width = spec.image_shape
            start, end = self.gamma(spec, 1.0), self.gamma(spec, 0.0)
            preparation.report(
                f"gamma falls from {start:.3g} to {end:.3g}, as {width}x{height} pixels suggest (--gamma): more if "
                "training is unstable, less if samples lack detail"
            )

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        if not self.config.conditional:
            return {}
        key = spec.class_key(self.config.class_key)
        return {key: spec[key]}

    def codes(self, request: SampleRequest) -> Tensor:
        return request.noise(request.n, self.config.z)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        labels = request.batch[request.spec.class_key(self.config.class_key)] if self.config.conditional else None
        return networks["generator"](codes, labels).float().clamp(-1, 1)

    def gamma(self, spec: DataSpec, left: float) -> float:
        """Weight of the penalties while the fraction `left` of the ramp is still to go.

        Unless it is given it grows with the number of pixels: four times as much at 64x64 as at 32x32. The paper took
        1 for Stacked MNIST, 0.05 for CIFAR-10, 0.5 and 1 for ImageNet at 32 and 64, 2 and 150 for FFHQ at 64 and 256.
        """
        _, height, width = spec.image_shape
        c = self.config
        start = c.gamma_at_32 * height * width / 1024 if c.gamma is None else c.gamma
        return start * (c.gamma_end + (1 - c.gamma_end) * left)

    def ramp(self, step: Step) -> float:
        """What is still to go of the way of all that changes: from 1 down to 0, half a wave of the cosine."""
        gone = min(step.index / max(self.config.optim.until * step.steps, 1.0), 1.0)
        return 0.5 * (1 + math.cos(math.pi * gone))

    def _labels(self, step: Step) -> Tensor | None:
        """Fakes are drawn of the classes of the reals that they are paired with."""
        return step.batch[step.spec.class_key(self.config.class_key)] if self.config.conditional else None

    def _fakes(self, step: Step) -> Tensor:
        def draw() -> Tensor:
            return step.networks["generator"](step.noise(step.size, self.config.z), self._labels(step))

        return step.shared("fakes", draw)

    def _augment(self, step: Step, images: Tensor) -> Tensor:
        c = self.config
        p = step.networks["ada"].p if c.adaptive else c.augment_p * (1 - self.ramp(step))
        seen = step.augment(images, p=p)
        if c.adaptive and seen is images:
            augmentations = give("augment.diff", "color,translation,cutout")
            raise UsageError(f"r3gan: adaptive is for augmentations, and there are none: {augmentations}")
        return seen

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.losses import relativistic_d_loss

        judge, labels = step.networks["discriminator"], self._labels(step)
        gamma = self.gamma(step.spec, self.ramp(step))
        real, real_features, r1 = self._judged(step, step.batch["image"])
        fake, fake_features, r2 = self._judged(step, self._fakes(step).detach().float())
        if self.config.adaptive:
            step.networks["ada"].adapt(real - fake)
            step.log("p", step.networks["ada"].p)
        step.log("r1", r1)
        step.log("r2", r2)
        terms = {"pairs": relativistic_d_loss(real, fake), "penalty": gamma / 2 * (r1 + r2)}
        if self.config.san:
            apart = judge.direction(fake_features, labels) - judge.direction(real_features, labels)
            terms["direction"] = apart.mean()
        return terms

    def _judged(self, step: Step, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, features, and the mean squared slope of the logits.

        The exact slope is that in the images, through their augmentation, as in the authors' code; a finite difference
        is taken of what the discriminator sees, where the augmentation is not drawn anew.
        """
        from gankit.losses import approx_penalty, r1_penalty

        judge, labels = step.networks["discriminator"], self._labels(step)
        kept: list[tuple[Tensor, Tensor]] = []

        def score(seen: Tensor) -> Tensor:
            features = judge.features(seen)
            logits = judge.score(features, labels)
            kept.append((logits, features))
            return logits

        if self.config.penalty == "exact":
            slope = r1_penalty(lambda images: score(self._augment(step, images)), images)
        else:
            seen = self._augment(step, images)
            slope = approx_penalty(score, seen, scale=self._reach(step), generator=step.generator)
        return *kept[0], slope

    def _reach(self, step: Step) -> float:
        """How far a finite difference goes: far enough to be seen in the digits that there are."""
        import torch

        if self.config.penalty_step is not None:
            return self.config.penalty_step
        return 0.1 if torch.is_autocast_enabled(step.device.type) else 0.01

    def _generator(self, step: Step) -> dict[str, Tensor]:
        import torch

        from gankit.losses import relativistic_g_loss

        judge: Callable[..., Tensor] = step.networks["discriminator"]
        labels = self._labels(step)
        with torch.no_grad():
            real = judge(self._augment(step, step.batch["image"]), labels)
        return {"pairs": relativistic_g_loss(real, judge(self._augment(step, self._fakes(step)), labels))}

    def _unit_length(self, step: Step) -> None:
        weight = step.networks["discriminator"].head.weight
        weight.div_(weight.norm(dim=1, keepdim=True))
