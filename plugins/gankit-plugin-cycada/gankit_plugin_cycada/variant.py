"""Variant ``cycada``: a CycleGAN that keeps what its images show, and a classifier for the domain without labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from gankit_plugin_cyclegan.variant import CycleGAN, CycleGANConfig
from pydantic import Field

from gankit.errors import UsageError
from gankit.plugin import DataSpec, Optim, Phase, Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Batch, Networks


class CyCADAConfig(CycleGANConfig):
    """Options of the variant ``cycada``."""

    semantic: float = Field(1.0, ge=0)
    """Weight of translations showing the class of their source; 0: a CycleGAN beside which classifiers learn."""
    semantic_below: float = Field(1.0, gt=0)
    """The source's classifier is heeded, and the target's begins, once its loss, as a moving average, is below this."""
    features: float = Field(0.1, ge=0)
    """Weight of the target's classifier answering real target images as it does translated ones."""
    features_from: float = Field(0.5, ge=0, le=1)
    """Part of the run after which it does."""
    recolour: bool = False
    """Show images of a in many colours, light on dark and dark on light, to all networks, target's classifier too."""
    width: int = Field(32, ge=1)
    """Channels after the classifiers' first layer."""
    answer_width: int = Field(500, ge=1)
    """Width of the discriminator of answers."""
    class_optim: Optim = Optim(lr=1e-3, betas=(0.9, 0.999))
    """Optimiser of the classifiers."""
    answer_optim: Optim = Optim(lr=2e-4, betas=(0.5, 0.999))
    """Optimiser of the discriminator of answers."""


class CyCADA(CycleGAN):
    """Unpaired translation that keeps the class, and a classifier for a domain without labels (Hoffman et al. 2018).

    Labels of `a` alone are read in training. `source` learns to tell its classes; translations must show it the class
    of what they are made from. `target` learns from translated images with their labels, and to answer real images of
    `b` in a way that a discriminator cannot tell from that.
    """

    Config = CyCADAConfig
    dataset = "domains"
    requires = frozenset({"a", "b", "label_a"})
    averaged = ("a_to_b", "b_to_a", "target")
    metric = "target_accuracy"
    metrics: ClassVar = {"target_accuracy": "larger", "source_accuracy": "larger"}
    check_options: ClassVar = {"semantic_below": 1e6}  # else the target learns nothing in a first step
    presets: ClassVar = {
        "default": {
            **CycleGAN.presets["default"],
            "steps": 2000,
            "batch_size": 16,
            "sample_every": 500,
            "data.first": "mnist",
            "data.second": "street-digits",
            "data.first_half": True,
            "identity": 0.0,
            "cycle": 1.0,
            "recolour": True,
        },
        # the authors' for digits of 32x32, and their networks
        "paper": {
            "steps": 100_000,
            "batch_size": 64,
            "sample_every": 1000,
            "ema": 0.0,
            "blocks": 6,
            "d_layers": 2,
            "cycle": 1.0,
            "identity": 0.0,
            "pool": 50,
            "data.first": "mnist",
            "data.second": "street-digits",
            "data.first_half": True,
        },
    }

    config: CyCADAConfig

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit.nn import State
        from gankit_plugin_cycada.networks import Classifier, answer_discriminator

        made = super().networks(spec)
        classes, shapes = spec.classes("label_a"), {name: spec.shape_of(name) for name in "ab"}
        if shapes["a"][0] != shapes["b"][0]:
            channels = " and ".join(str(shape[0]) for shape in shapes.values())
            raise UsageError(f"cycada shows images of both domains to one classifier: a and b have {channels} channels")
        c = self.config
        return made | {
            "source": Classifier(shapes["a"], classes, c.width),
            "target": Classifier(shapes["b"], classes, c.width),
            "answers": answer_discriminator(classes, c.answer_width),
            "progress": State(loss=_scalar(float("inf"))),
        }

    def phases(self) -> Sequence[Phase]:
        c = self.config
        answers = Phase(name="answers", updates=("answers",), loss=self._answers, optim=c.answer_optim)
        return (
            Phase(name="source", updates=("source",), loss=self._source, optim=c.class_optim),
            *super().phases(),
            Phase(name="target", updates=("target",), loss=self._target, optim=c.class_optim),
            *((answers,) if c.features else ()),
        )

    def expect(self) -> Mapping[str, str]:
        from gankit import chance

        semantic = (
            "It is 0 until the classifier of a knows enough (semantic_below), leaps up then, and falls: translations "
            "come to show the class of their source."
        )
        return super().expect() | {
            "": "target_accuracy is what is wanted: at 500, 1,000, 1,500 and 2,000 steps of a default run 0.62, "
            "0.68, 0.70 and 0.72, and the class kept in 0.92, 0.94, 0.97 and 0.91 of the translations (accuracy). A "
            "plain CycleGAN loses the class in a third of them and more, and none of its losses says so.",
            "source": "The classifier of a: it falls early, and starts the rest.",
            "generators/semantic_b": semantic,
            "generators/semantic_a": semantic,
            "target/loss": "The classifier of b on translations, with the labels of their sources. It is 0 until it "
            "begins, with semantic_b.",
            "target/features": chance.generator("bce", self.config.features),
            "answers": chance.discriminator("bce"),
        }

    def measure(self, networks: Networks, batches: Iterable[Batch], generator: torch.Generator) -> dict[str, float]:
        """How often each classifier is right of held-out images of b, where the data has their labels; else NaN."""
        right, count = {"source": 0, "target": 0}, 0
        for batch in batches:
            if "label_b" in batch:
                count += len(batch["b"])
                for name in right:
                    right[name] += int((networks[name](batch["b"]).argmax(1) == batch["label_b"]).sum())
        return {f"{name}_accuracy": number / count if count else float("nan") for name, number in right.items()}

    def _images(self, step: Step, name: str) -> Tensor:
        images = super()._images(step, name)
        if name != "a" or not self.config.recolour:
            return images
        return step.shared("recoloured", lambda: recoloured(images, step.generator))

    def _heeded(self, step: Step) -> Tensor:
        """1 once the source's classifier knows enough for others to learn from it, else 0."""
        return (step.networks["progress"].loss < self.config.semantic_below).float()

    def _source(self, step: Step) -> dict[str, Tensor]:
        from torch.nn import functional as F

        from gankit import whole_batch

        loss = F.cross_entropy(step.networks["source"](self._images(step, "a")).float(), step.batch["label_a"])
        kept = step.networks["progress"].loss
        now = whole_batch.mean(loss.detach())
        kept.copy_(now.where(kept.isinf(), kept.lerp(now, 0.02)))
        return {"loss": loss}

    def _generators(self, step: Step) -> dict[str, Tensor]:
        from torch.nn import functional as F

        terms = super()._generators(step)
        if not self.config.semantic:
            return terms
        source = step.networks["source"]
        heeded = self.config.semantic * self._heeded(step)
        with _as_it_is(source):
            fake_b, fake_a = self._drawn(step, "a")[0], self._drawn(step, "b")[0]
            answer = source(step.batch["b"]).argmax(1)
            terms["semantic_b"] = heeded * F.cross_entropy(source(fake_b).float(), step.batch["label_a"])
            terms["semantic_a"] = heeded * F.cross_entropy(source(fake_a).float(), answer)
        return terms

    def _target(self, step: Step) -> dict[str, Tensor]:
        import torch
        from torch.nn import functional as F

        from gankit.ops import patchgan_g_loss

        shown, labels = self._drawn(step, "a")[0].detach().float(), step.batch["label_a"]
        if self.config.recolour:
            shown, labels = torch.cat([shown, self._images(step, "a")]), labels.repeat(2)
        # of the first translations, which show nothing, it would learn to answer always the same
        answer = step.networks["target"](shown).float()
        terms = {"loss": self._heeded(step) * F.cross_entropy(answer, labels)}
        if self._adapts(step):
            with _as_it_is(step.networks["target"]):  # as the discriminator of answers sees it
                on_real = step.networks["target"](step.batch["b"]).float()
            fooled = patchgan_g_loss(step.networks["answers"](on_real), "bce")
            terms["features"] = self.config.features * fooled
        return terms

    def _answers(self, step: Step) -> dict[str, Tensor]:
        import torch

        from gankit.ops import patchgan_d_loss

        fake = self._drawn(step, "a")[0].detach().float()
        with torch.no_grad(), _as_it_is(step.networks["target"]):
            on_fake, on_real = (step.networks["target"](images).float() for images in (fake, step.batch["b"]))
        judge = step.networks["answers"]
        return {"loss": patchgan_d_loss(judge(on_fake), judge(on_real), "bce")}

    def _adapts(self, step: Step) -> bool:
        return bool(self.config.features) and step.index >= self.config.features_from * step.steps


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] in other colours, of the same shape: a gain of 0.3 to 1 for each, negative for
    half of them, for each of its channels a little more or less of it, and a shift.

    A translator answers the same to the same: where `b` has many colours for what has one in `a`, all of its
    translations have one, too. With gains down to 0 a classifier learns nothing.
    """
    import torch

    from gankit import whole_batch

    if images.shape[1] == 4:  # opacity is no colour
        return torch.cat([recoloured(images[:, :3], generator), images[:, 3:]], 1)
    n, channels = images.shape[:2]

    def drawn(*shape: int) -> Tensor:
        return whole_batch.rand(*shape, generator=generator, device=images.device)

    sign = (drawn(n, 1, 1, 1) < 0.5).to(images.dtype) * 2 - 1
    gain = sign * (0.3 + 0.7 * drawn(n, 1, 1, 1)) * (0.8 + 0.4 * drawn(n, channels, 1, 1))
    room = (1 - gain.abs()).clamp_min(0.2)
    return (gain * images + room * (2 * drawn(n, channels, 1, 1) - 1)).clamp(-1, 1)


def _scalar(value: float) -> Tensor:
    import torch

    return torch.tensor(value)


@contextmanager
def _as_it_is(network: nn.Module) -> Iterator[None]:
    """`network` in eval mode: the statistics of its batch norms neither follow the batch nor depend on it."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
