"""Variant ``stackgan``: text to image in two stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit.plugin import DataSpec, Phase, Preparation, SampleRequest, Step, Variant
from gankit_plugin_stackgan.config import PRESETS, StackGANConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gankit.plugin import Networks


class StackGAN(Variant[StackGANConfig]):
    """Draws what a caption says: a small image in stage I, refined to a large one in stage II (Zhang et al. 2017)."""

    Config = StackGANConfig
    dataset = "captioned-digits"
    requires = frozenset({"image", "text"})
    conditions = frozenset({"text"})
    averaged = ("generator",)
    metric = "accuracy"
    stages = 2
    presets: ClassVar = PRESETS
    check_options: ClassVar = {"text.steps": 3, "text.image_steps": 1}

    @property
    def stage(self) -> int:
        return self.config.stage or 1

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit.evaluate.wanted import caption_metric
        from gankit.text.matching import encoders
        from gankit_plugin_stackgan.networks import StageOneGenerator, StageTwoGenerator

        c, channels = self.config, spec.image_shape[0]
        size, low = sides(spec, c.low)
        self.metric = caption_metric(spec)
        read = encoders(c.text, spec)
        text = read["text"].size
        kind: Any = {"embedding": text, "condition": c.condition, "channels": channels, "relu": c.projection == "relu"}
        first = StageOneGenerator(z=c.z, width=c.g1_width, size=low, **kind)
        if self.stage == 1:
            return {**read, "generator": first, "discriminator": self._judge(low, channels)}
        if low >> c.halvings < 1:
            raise UsageError(f"halvings = {c.halvings}: a stage-I image of {low}x{low} cannot be halved so often")
        second = StageTwoGenerator(
            width=c.g2_width,
            low=low,
            size=size,
            blocks=c.blocks,
            halvings=c.halvings,
            onto=c.onto,
            **kind,
        )
        return {**read, "stage1": first.freeze(), "generator": second, "discriminator": self._judge(size, channels)}

    def _judge(self, size: int, channels: int) -> nn.Module:
        """The discriminator of this stage, with its first weights."""
        from gankit.nn.init import init_he, init_normal
        from gankit_plugin_stackgan.networks import Discriminator

        c, norm = self.config, self.config.d_norm == "batch"
        judge = Discriminator(
            condition=c.condition,
            width=c.d_width,
            size=size,
            unconditional=self.stage == 2,
            channels=channels,
            norm=norm,
        )
        return init_normal(judge) if norm else init_he(judge)

    def inherits(self) -> dict[str, str]:
        if self.stage == 1:
            return {}
        # other encoders than the one trained here have no weights in a checkpoint
        encoders = ("text", "images") if self.config.text.encoder == "char-cnn-rnn" else ()
        return {**{name: name for name in encoders}, "stage1": "generator"}

    def prepare(self, preparation: Preparation) -> None:
        from gankit.text.training import EncoderTraining

        if self.stage == 1 and self.config.text.encoder == "char-cnn-rnn":
            encoder, images = preparation.networks["text"], preparation.networks["images"]
            _, low = sides(preparation.train.spec, self.config.low)
            EncoderTraining(encoder, images, low, self.config.text, preparation, self.config.match).run()

    def phases(self) -> Sequence[Phase]:
        optim = self.config.optim
        return (
            Phase(name="discriminator", updates=("discriminator",), loss=self._discriminator, optim=optim),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=optim),
        )

    def expect(self) -> Mapping[str, str]:
        import math

        from gankit import chance

        told = "Where the discriminator cannot tell it is {:.3g}; in a healthy run it is below that and away from 0."
        shares = {"real": 1.0, "fake": 0.5, "mismatched": 0.5}
        if self.stage == 2:
            shares = {"real": 1 / 2, "real_alone": 1 / 2, "fake": 1 / 3, "mismatched": 1 / 3, "fake_alone": 1 / 3}
        about = {
            "mismatched": "Real images with another caption: what makes the generator heed captions. It has to "
            "fall, too.",
            "real_alone": "Without the caption.",
            "fake_alone": "Without the caption.",
        }
        stages = {
            1: "Of stage I on captioned-digits all four of digit, ink, ground and stroke were right in 50.6, 76.9, "
            "86.3 and 90.4% after 350, 700, 1,050 and 1,400 of 2,100 steps.",
            2: "Stage II begins with what stage I draws, so that its figures are good early on, and sharpens it.",
        }
        return {
            "": "The losses do not fall as samples get better; accuracy says whether captions are obeyed. "
            f"{stages[self.stage]}",
            **{
                f"discriminator/{name}": f"{told.format(share * math.log(2))} {about.get(name, '')}".strip()
                for name, share in shares.items()
            },
            "generator/generator": chance.generator("bce"),
            "generator/generator_alone": chance.generator("bce"),
            "generator/match": "How badly a caption is found by its drawing, times its weight: it falls, fast "
            "at first.",
            "generator/seek": "How alike two drawings of one caption are, times its weight. Near 50 times the weight "
            "the noise is ignored: one image a caption.",
            "generator/kl": "How far conditions are from a standard normal, times its weight: it stays small.",
        }

    def sample(self, networks: Networks, request: SampleRequest) -> Tensor:
        embedding = networks["text"](request.batch["text"])
        return self._draw(networks, embedding, request, self.config.truncation)[0]

    def _draw(
        self, networks: Networks, embedding: Tensor, source: Step | SampleRequest, spread: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images, and the mean and log-variance of the condition, drawn with `spread` times its noise."""
        import torch

        c, n = self.config, len(embedding)
        z, noise = source.noise(n, c.z), spread * source.noise(n, c.condition)
        if self.stage == 1:
            return networks["generator"](embedding, z, noise)
        with torch.no_grad():
            small = networks["stage1"](embedding, z, noise)[0]
        return networks["generator"](small, embedding, spread * source.noise(n, c.condition))

    def _real(self, step: Step) -> Tensor:
        """The batch's images in the size of this stage."""
        import torch
        from torch.nn import functional as F

        images = step.batch["image"]
        low = sides_of(images, self.config.low)
        if self.stage == 2 or images.shape[-1] == low:
            return images
        with torch.autocast(images.device.type, enabled=False):
            return F.interpolate(images, (low, low), mode="area")

    def _fake(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Images for the captions asked, and their condition; both phases see the same ones."""
        return step.shared("fake", lambda: self._draw(step.networks, self._asked(step), step))

    def _asked(self, step: Step) -> Tensor:
        """Embeddings (N, E) of what is drawn: the batch's captions, or half of them twice where modes are sought."""
        from gankit import whole_batch
        from gankit.text.matching import embedded

        if not self.config.seek:
            return embedded(step)
        embedding = whole_batch.gather(embedded(step))
        half = (len(embedding) + 1) // 2
        return whole_batch.rows(embedding[:half].repeat(2, 1)[: len(embedding)])

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        import torch

        from gankit.ops import patchgan_g_loss
        from gankit.text.matching import embedded, mistaken

        def accept(logits: Tensor) -> Tensor:
            return patchgan_g_loss(logits, "bce")

        def reject(logits: Tensor) -> Tensor:
            return patchgan_g_loss(-logits, "bce")

        judge = step.networks["discriminator"]
        images, mean, _ = self._fake(step)
        asked = condition = mean.detach()
        if self.config.seek:
            with torch.no_grad():
                condition = step.networks["generator"].augmentation(embedded(step), None)[1]
        real = judge.features(step.augment(self._real(step)))
        fake = judge.features(step.augment(images.detach()))
        terms = {
            "real": accept(judge.matched(real, condition)),
            "fake": reject(judge.matched(fake, asked)),
            "mismatched": reject(judge.matched(real, mistaken(step, condition, self.config.mismatch))),
        }
        if self.stage == 1:
            return {"real": terms["real"], "fake": terms["fake"] / 2, "mismatched": terms["mismatched"] / 2}
        return {
            "real": terms["real"] / 2,
            "real_alone": accept(judge.real(real)) / 2,
            "fake": terms["fake"] / 3,
            "mismatched": terms["mismatched"] / 3,
            "fake_alone": reject(judge.real(fake)) / 3,
        }

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.losses import kl_normal, sameness
        from gankit.ops import patchgan_g_loss
        from gankit.text.matching import match_loss

        judge = step.networks["discriminator"]
        images, mean, log_variance = self._fake(step)
        features = judge.features(step.augment(images))
        terms = {"generator": patchgan_g_loss(judge.matched(features, mean.detach()), "bce")}
        if self.stage == 2:
            terms["generator_alone"] = patchgan_g_loss(judge.real(features), "bce")
        if self.config.match and "images" in step.networks:
            terms["match"] = self.config.match * match_loss(step, images, self._asked(step))
        if self.config.seek:
            terms["seek"] = self.config.seek * sameness(images)
        if self.config.kl:
            terms["kl"] = self.config.kl * kl_normal(mean, log_variance)
        return terms


def sides(spec: DataSpec, low: int | None) -> tuple[int, int]:
    """Sides of stage-II and stage-I images; :class:`UsageError` if they do not go together."""
    _, height, width = spec.image_shape
    if height != width or height < 16 or height & (height - 1):
        raise UsageError(
            f"stackgan draws squares with a power of two to a side, from 16 on, and the dataset's images are "
            f"{width}x{height}: choose another size ({give('data.size', 64)})"
        )
    if low is None:
        low = height // 2 if height <= 64 else height // 4
    if low & (low - 1) or not 8 <= low <= height:
        raise UsageError(f"low = {low}: must be a power of two from 8 to {height}, the size of the dataset's images")
    return height, low


def sides_of(images: Tensor, low: int | None) -> int:
    """The side of stage-I images when the dataset's are `images`."""
    size = images.shape[-1]
    return low or (size // 2 if size <= 64 else size // 4)
