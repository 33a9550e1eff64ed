"""Variant ``r3gan``: relativistic pairs, zero-centred penalties on reals and fakes, networks without norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from gankit.options.spelling import give
from gankit.plugin import DataSpec, Key, Phase, Preparation, SampleRequest, Step, UsageError, Variant
from gankit_plugin_r3gan.config import PRESETS, R3GANConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks


class R3GAN(Variant[R3GANConfig]):
    """The modern baseline of GANs: relativistic pairs, R1 and R2, no normalisation (Huang et al. 2024)."""

    Config = R3GANConfig
    dataset = "mnist"
    averaged = ("generator",)
    metric = "swd"
    presets: ClassVar = PRESETS
    check_options: ClassVar = {"text.steps": 3, "text.image_steps": 1}

    def __init__(self, config: R3GANConfig) -> None:
        super().__init__(config)
        if config.captions:
            self.requires = frozenset({"image", "text"})

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit.evaluate.wanted import caption_metric
        from gankit.nn import AdaptiveProbability
        from gankit.text.matching import encoders
        from gankit_plugin_r3gan.networks import build

        c = self.config
        read = encoders(c.text, spec) if c.captions else {}
        if read:
            self.metric = caption_metric(spec)
        networks = {**read, **build(c, spec, read["text"].size if read else 0)}
        return networks | ({"ada": AdaptiveProbability(images=c.adaptive_images)} if c.adaptive else {})

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

    def expect(self) -> Mapping[str, str]:
        pairs = (
            "Only the difference of a real and a drawn image's logits counts. Where the discriminator cannot tell it "
            "is ln 2 = 0.693 for both networks; "
        )
        return {
            "": "fid_judge of a default run on mnist was 34, 15, 9.3 and 7.5 at steps 1,000, 2,000, 3,000 and 4,000.",
            "discriminator/pairs": f"{pairs}a healthy discriminator is below that and away from 0.",
            "generator/pairs": f"{pairs}the generator is above that while the discriminator is ahead, and does not "
            "fall as samples get better.",
            "discriminator/penalty": "The squared slopes r1 and r2, times half of gamma, which falls over the first "
            "part of the run. Leaps of it are unstable training: take more gamma; samples without detail want less.",
            "discriminator/p": "The probability of augmentation: it rises while the discriminator is surer than "
            "it should be.",
        }

    def prepare(self, preparation: Preparation) -> None:
        from gankit.text.training import EncoderTraining

        spec = preparation.train.spec
        if self.config.captions and self.config.text.encoder == "char-cnn-rnn":
            text, images = (preparation.networks[name] for name in ("text", "images"))
            side = min(spec.image_shape[1:])
            EncoderTraining(text, images, side, self.config.text, preparation, self.config.match).run()
        if self.config.gamma is None:
            _, height, width = spec.image_shape
            start, end = self.gamma(spec, 1.0), self.gamma(spec, 0.0)
            preparation.report(
                f"gamma falls from {start:.3g} to {end:.3g}, as {width}x{height} pixels suggest (--gamma): more if "
                "training is unstable, less if samples lack detail"
            )

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        key = self._told(spec)
        return {key: spec[key]} if key else {}

    def _told(self, spec: DataSpec) -> str:
        """The key of what says what is to be drawn; "" if nothing does."""
        if self.config.captions:
            return "text"
        return spec.class_key(self.config.class_key) if self.config.conditional else ""

    def codes(self, request: SampleRequest) -> Tensor:
        return request.noise(request.n, self.config.z)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        key = self._told(request.spec)
        told = request.batch[key] if key else None
        if self.config.captions:
            told = networks["text"](told)
        return networks["generator"](codes, told).float().clamp(-1, 1)

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
        """Fakes are drawn of the classes, or what the captions say, of the reals that they are paired with."""
        from gankit.text.matching import embedded

        if self.config.captions:
            return embedded(step)
        return step.batch[self._told(step.spec)] if self.config.conditional else None

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
        from gankit.text.matching import mistaken

        judge, labels = step.networks["discriminator"], self._labels(step)
        gamma = self.gamma(step.spec, self.ramp(step))
        due = step.index % self.config.penalty_every == 0
        real, real_features, r1 = self._judged(step, step.batch["image"], due)
        fake, fake_features, r2 = self._judged(step, self._fakes(step).detach().float(), due)
        if self.config.adaptive:
            step.networks["ada"].adapt(real - fake)
            step.log("p", step.networks["ada"].p)
        terms = {"pairs": relativistic_d_loss(real, fake)}
        if r1 is not None and r2 is not None:
            step.log("r1", r1)
            step.log("r2", r2)
            terms["penalty"] = gamma / 2 * self.config.penalty_every * (r1 + r2)
        if labels is not None and self.config.captions and self.config.mismatch:
            wrong = judge.score(real_features, mistaken(step, labels, "near"))
            terms["mismatched"] = self.config.mismatch * relativistic_d_loss(real, wrong)
        if self.config.san:
            apart = judge.direction(fake_features, labels) - judge.direction(real_features, labels)
            terms["direction"] = apart.mean()
        return terms

    def _judged(self, step: Step, images: Tensor, due: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits, features, and, where it is `due`, the mean squared slope of the logits.

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

        slope = None
        if not due:
            score(self._augment(step, images))
        elif self.config.penalty == "exact":
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
        from gankit.text.matching import match_loss

        judge: Callable[..., Tensor] = step.networks["discriminator"]
        labels = self._labels(step)
        with torch.no_grad():
            real = judge(self._augment(step, step.batch["image"]), labels)
        terms = {"pairs": relativistic_g_loss(real, judge(self._augment(step, self._fakes(step)), labels))}
        if self.config.match and "images" in step.networks:
            # from nothing on: images that are still noise would learn to deceive the encoder, and not to show a thing
            weight = self.config.match * (1 - self.ramp(step))
            terms["match"] = weight * match_loss(step, self._fakes(step).clamp(-1, 1), labels)
        return terms

    def _unit_length(self, step: Step) -> None:
        weight = step.networks["discriminator"].head.weight
        weight.div_(weight.norm(dim=1, keepdim=True))
