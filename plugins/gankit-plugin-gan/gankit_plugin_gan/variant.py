"""Variant ``gan``: two perceptrons, one that draws from noise and one that tells what is drawn from what is real."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from gankit.plugin import Config, DataSpec, Optim, Phase, SampleRequest, Step, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Networks


class GANConfig(Config):
    """Options of the variant ``gan``."""

    loss: Literal["non-saturating", "saturating"] = "non-saturating"
    """The generator maximises log D(G(z)), or minimises log(1 - D(G(z))), the game's own value."""
    z: int = Field(100, ge=1)
    """Length of the noise vector."""
    prior: Literal["normal", "uniform"] = "normal"
    """Distribution of the noise vector: standard normal, or uniform in [-1, 1]."""
    g_hidden: tuple[int, ...] = (1024, 1024)
    """Widths of the generator's hidden layers."""
    d_hidden: tuple[int, ...] = (256, 256)
    """Widths of the discriminator's hidden layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Part of the discriminator's hidden units that is left out at random in training."""
    noise: float = Field(0.1, ge=0)
    """Standard deviation of the noise added to what the discriminator sees; it keeps it from learning by heart."""
    r1: float = Field(1.0, ge=0)
    """Weight of the discriminator's squared slope at real images (R1, Mescheder et al. 2018), halved."""
    optim: Optim = Optim(lr=5e-4, betas=(0.5, 0.999))
    """Optimiser of both networks."""

    @field_validator("g_hidden", "d_hidden")
    @classmethod
    def _widths(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in widths):
            raise ValueError("each must be at least 1")
        return widths


_RUN = {"steps": 20_000, "batch_size": 64, "sample_n": 80, "sample_every": 2500, "eval_every": 2500, "eval_n": 1000}
# The document's perceptrons as they stand there: nothing is added, samples are those of the last weights.
_DOCUMENT = _RUN | {"steps": 12_000, "batch_size": 128, "optim.lr": 2e-4, "noise": 0.0, "r1": 0.0, "ema": 0.0}


class GAN(Variant[GANConfig]):
    """Generative adversarial net of two perceptrons (Goodfellow et al. 2014)."""

    Config = GANConfig
    dataset = "mnist"
    averaged = ("generator",)
    metric = "fid_judge"
    metrics: ClassVar = {"jsd": "smaller"}
    presets: ClassVar = {"default": _RUN, "document": _DOCUMENT}

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_gan.networks import build

        return build(self.config, spec)

    def phases(self) -> Sequence[Phase]:
        optim = self.config.optim
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=optim),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=optim),
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        if self.config.loss == "saturating":
            generator = (
                "The mean of log(1 - D(G(z))): -0.693 where D answers 1/2, and near 0, where its slope vanishes, if "
                "D is sure of what is drawn."
            )
        else:
            generator = chance.generator("bce")
        return {
            "": "Neither loss falls as samples get better, and the metrics tell: fid_judge of a default run on mnist "
            "was 53, 22, 14, 9.8, 8.3 and 7.0 at steps 2,500, 5,000, 7,500, 10,000, 15,000 and 20,000. Early sheets "
            "are worse than the networks are, since the average of the weights is behind.",
            "discriminator": "D(x) and D(G(z)) are its mean answers to real and to drawn images. Both at 1/2 is "
            "where the game ends; D(x) near 1 with D(G(z)) near 0 for long is a discriminator from which the "
            "generator learns little.",
            "discriminator/loss": chance.discriminator("bce"),
            "generator": generator,
            "jsd": "From 0 to 0.693. Below 0 the discriminator knows its training images by heart and takes held-out "
            "ones for drawn: of a run without R1 samples then got worse again.",
        }

    def codes(self, request: SampleRequest) -> Tensor:
        return self._noise(request.n, request.generator)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["generator"](codes)

    def measure(
        self, networks: Networks, batches: Iterable[Mapping[str, Tensor]], generator: torch.Generator
    ) -> dict[str, float]:
        """The Jensen-Shannon divergence that the discriminator finds between held-out images and samples, in nats,
        of both with the `noise` with which it sees them.

        log 2 + (E log D(x) + E log(1 - D(G(z)))) / 2, which for the best D is the divergence (equations 4 to 6 of the
        paper) and for another less: below 0 if D knows its training images by heart and takes others for drawn.
        """
        import math

        from torch.nn import functional as F

        lost, count = 0.0, 0
        for batch in batches:
            real = batch["image"]
            fake = networks["generator"](self._noise(len(real), generator))
            real, fake = (networks["discriminator"](self._noisy(images, generator)) for images in (real, fake))
            lost += float((F.softplus(-real) + F.softplus(fake)).sum())
            count += len(real)
        return {"jsd": math.log(2) - lost / (2 * count) if count else math.nan}

    def _noise(self, number: int, generator: torch.Generator) -> Tensor:
        """(number, z), on the generator's device."""
        from gankit import whole_batch

        if self.config.prior == "normal":
            return whole_batch.randn(number, self.config.z, generator=generator, device=generator.device)
        return whole_batch.rand(number, self.config.z, generator=generator, device=generator.device).mul_(2).sub_(1)

    def _noisy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        from gankit import whole_batch

        if not self.config.noise:
            return images
        noise = whole_batch.randn(*images.shape, generator=generator, device=images.device)
        return images + self.config.noise * noise

    def _fake(self, step: Step) -> Tensor:
        """Generated images; both phases see the same ones."""
        return step.shared("fake", lambda: step.networks["generator"](self._noise(step.size, step.generator)))

    def _judged(self, step: Step, images: Tensor) -> Tensor:
        """The discriminator's logits, (N, 1)."""
        return step.networks["discriminator"](self._noisy(step.augment(images), step.generator))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.losses import r1_penalty
        from gankit.ops import patchgan_d_loss

        kept: list[Tensor] = []

        def judge(images: Tensor) -> Tensor:
            kept.append(self._judged(step, images))
            return kept[-1]

        terms = {}
        if self.config.r1:
            terms["r1"] = self.config.r1 / 2 * r1_penalty(judge, step.batch["image"])
        else:
            judge(step.batch["image"])
        (real,) = kept
        fake = self._judged(step, self._fake(step).detach())
        step.log("D(x)", real.detach().float().sigmoid().mean())
        step.log("D(G(z))", fake.detach().float().sigmoid().mean())
        return {"loss": patchgan_d_loss(real, fake, kind="bce"), **terms}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from torch.nn import functional as F

        from gankit.ops import patchgan_g_loss

        fake = self._judged(step, self._fake(step))
        if self.config.loss == "saturating":  # log(1 - D) of logits
            return {"loss": -F.softplus(fake.float()).mean()}
        return {"loss": patchgan_g_loss(fake, kind="bce")}
