"""Variant ``stargan``: one generator that redraws an image in the domain that it is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.plugin import Config, DataSpec, Key, Optim, Phase, SampleRequest, Step, Variant
from gankit_plugin_stargan.domains import domain_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Batch, Networks

COLUMNS = 16
"""Most domains that a sheet has a column for."""


class StarGANConfig(Config):
    """Options of the variant ``stargan``."""

    class_key: str = ""
    """Which classes are the domains, or which vector of attributes; none: `label`, or the only ones."""
    truth_key: str = "text"
    """Of judging: what is equal of held-out images that show the same in several domains, if the data has it."""
    g_width: int = Field(64, ge=1)
    """Channels after the generator's first layer."""
    blocks: int = Field(6, ge=1)
    """Residual blocks of the generator."""
    mask: bool = False
    """Generator for changes of colour: says of each pixel its new colour, and how much of it is seen (GANimation)."""
    d_width: int = Field(64, ge=1)
    """Channels after the discriminator's first layer; each further one has twice as many."""
    d_layers: int = Field(6, ge=1, le=8)
    """How often the discriminator halves the image."""
    loss: Literal["wgan", "hinge", "lsgan", "bce"] = "wgan"
    """Adversarial loss."""
    penalty: float = Field(10.0, ge=0)
    """Weight: of wgan of WGAN-GP's penalty, of others of half of R1, of the sum of the patches' logits; 0: none."""
    told_by: Literal["classes", "projection"] = "classes"
    """What tells the generator of the domain: logits of it, or that what seems real depends on it, patch by patch."""
    classification: float = Field(1.0, ge=0)
    """Of classes: weight of the domain being seen, for both networks."""
    reconstruction: float = Field(10.0, ge=0)
    """Weight of the way there and back again."""
    turns: int = Field(5, ge=1)
    """Updates of the discriminator in a step."""
    optim: Optim = Optim(lr=1e-4, betas=(0.5, 0.999), schedule="linear", hold=0.5)
    """Optimiser of both networks."""

    def without_effect(self) -> dict[str, str]:
        return {} if self.told_by == "classes" else {"classification": "told_by = classes"}


class StarGAN(Variant[StarGANConfig]):
    """Translates images between many domains with one generator that is told which (Choi et al. 2018)."""

    Config = StarGANConfig
    dataset = "emoji-tones"
    random = False
    averaged = ("generator",)
    metric = "accuracy"
    metrics: ClassVar = {"reconstruction_error": "smaller", "relative_error": "smaller"}
    presets: ClassVar = {
        "default": {
            "steps": 3000,
            "batch_size": 16,
            "precision": "auto",
            "sample_n": 8,
            "sample_every": 250,
            "eval_every": 500,
            "ema": 0.995,
            "augment.flip": True,
            "g_width": 16,
            "blocks": 3,
            "mask": True,
            "d_width": 32,
            "d_layers": 3,
            "loss": "bce",
            "penalty": 0.01,
            "told_by": "projection",
            "reconstruction": 1.0,
            "turns": 1,
            "optim.lr": 2e-3,
        },
        # the paper's networks and setting, for images of 128x128: 200,000 updates of the discriminator
        "paper": {
            "steps": 40_000,
            "batch_size": 16,
            "sample_n": 8,
            "sample_every": 1000,
            "checkpoint_every": 1000,
            "ema": 0.999,
            "augment.flip": True,
            "data.size": 128,
        },
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_stargan.networks import build

        return build(self.config, spec.image_shape, domain_of(spec, self.config.class_key))

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return (
            Phase(
                name="discriminator",
                updates=("discriminator",),
                loss=self._discriminator,
                optim=c.optim,
                repeat=c.turns,
            ),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=c.optim),
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        c = self.config
        return {
            "": "accuracy says whether the domain that was asked for is seen, relative_error how much of the way to "
            "the true image is left: a default run on emoji-tones had 0.77, 0.85, 0.90, 0.94, 0.97, 0.97 and 0.71, "
            "0.62, 0.48, 0.41, 0.37, 0.36 at every 500 steps. Images that come back unchanged have a reconstruction "
            "near 0 and a relative_error of 1.",
            "discriminator/adversarial": chance.discriminator(c.loss),
            "discriminator/classes": "How badly the domain of real images is told: it falls early.",
            "discriminator/penalty": "Times its weight; large only while the discriminator's slope is not held.",
            "generator/adversarial": chance.generator(c.loss),
            "generator/classes": "How badly the domain asked for is seen in what is drawn: it falls after the "
            "discriminator's.",
            "generator/reconstruction": f"What is missing on the way there and back, times {c.reconstruction:g}: it "
            "falls throughout.",
            "relative_error": "0 is the true image, 1 no better than leaving the image alone.",
        }

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        key = domain_of(spec, self.config.class_key).key
        wanted = replace(spec[key], target=True) if spec[key].kind == "class" else spec[key]
        return {"image": spec["image"], key: wanted}

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        generate = networks["generator"]
        return generate(request.batch["image"], request.batch[generate.domain.key])

    def panels(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        import torch

        generate, image = networks["generator"], request.batch["image"]
        domain = generate.domain
        shown = {"image": image}
        for number in range(min(domain.number, COLUMNS)):
            if domain.names:
                labels = torch.full((request.n,), number, device=request.device)
                shown[domain.names[number]] = generate(image, labels)
            else:  # each attribute the other way round
                labels = request.batch[domain.key].clone()
                labels[:, number] = 1 - labels[:, number]
                shown[f"not {number}"] = generate(image, labels)
        return shown

    def measure(self, networks: Networks, batches: Iterable[Batch], generator: torch.Generator) -> dict[str, float]:
        """How far the way there and back misses, and how far from the true image translations are.

        Both are mean absolute errors: the first of pixels in [-1, 1]; the second over that of the images as they were,
        where the data has images that are the same but for the domain.
        """
        import torch

        from gankit_plugin_stargan.truth import Held, relative_error

        generate, same = networks["generator"], self.config.truth_key
        held, missed, pixels = Held(), 0.0, 0
        for batch in batches:
            image, labels = batch["image"], batch[generate.domain.key]
            order = torch.randperm(len(image), generator=generator, device=image.device)
            back = generate(generate(image, labels[order]), labels)
            missed += float((back - image).abs().double().sum())
            pixels += image.numel()
            if same in batch:
                held.add(image, labels, batch[same])
        return {
            "reconstruction_error": missed / pixels,
            "relative_error": relative_error(held, generate, generator) if held.names else nan,
        }

    def _labels(self, step: Step) -> Tensor:
        return step.batch[step.networks["generator"].domain.key]

    def _order(self, step: Step) -> Tensor:
        """Images of the whole batch are to become what others of it are: in this order."""
        import torch

        from gankit import whole_batch

        number = whole_batch.whole(step.size)
        return step.shared("order", lambda: torch.randperm(number, generator=step.generator, device=step.device))

    def _ordered(self, step: Step, values: Tensor) -> Tensor:
        """Of the other images of the batch, in that order, what `values` (N, ...) are of its own."""
        from gankit import whole_batch

        return whole_batch.rows(whole_batch.gather(values)[self._order(step)])

    def _fakes(self, step: Step) -> Tensor:
        """The discriminator's first turn sees those that the generator is to learn from."""
        generate = step.networks["generator"]
        return step.shared("fakes", lambda: generate(step.batch["image"], self._ordered(step, self._labels(step))))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.losses import gradient_penalty, r1_penalty
        from gankit.ops import patchgan_d_loss

        c, judge = self.config, step.networks["discriminator"]
        domain, labels = step.networks["generator"].domain, self._labels(step)
        told = domain.planes(labels)
        wanted = self._ordered(step, told)
        real, fake = step.augment(step.batch["image"]), step.augment(self._fakes(step).detach())
        terms: dict[str, Tensor] = {}
        kept: list[tuple[Tensor, Tensor | None]] = []

        def score(images: Tensor) -> Tensor:
            kept.append(judge(images, told))
            return kept[-1][0]

        if c.penalty and c.loss == "wgan":
            # on lines to reals of the domain that the fakes are said to be of
            others = self._ordered(step, real)
            slope = gradient_penalty(lambda x: judge.real(x, wanted), others, fake, generator=step.generator)
            terms["penalty"] = c.penalty * slope
        elif c.penalty:
            terms["penalty"] = c.penalty / 2 * r1_penalty(score, real)
        source, classes = kept[0] if kept else judge(real, told)
        terms["adversarial"] = patchgan_d_loss(source, judge.real(fake, wanted), c.loss)
        if classes is not None:
            terms["classes"] = c.classification * domain.loss(classes, labels)
        return terms

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        c, image, labels = self.config, step.batch["image"], self._labels(step)
        generate, fake, wanted = step.networks["generator"], self._fakes(step), self._ordered(step, labels)
        source, classes = step.networks["discriminator"](step.augment(fake), generate.domain.planes(wanted))
        terms = {"adversarial": patchgan_g_loss(source, c.loss)}
        if classes is not None:
            terms["classes"] = c.classification * generate.domain.loss(classes, wanted)
        terms["reconstruction"] = c.reconstruction * (generate(fake, labels) - image).abs().mean()
        return terms
