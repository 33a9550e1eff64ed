"""Telling captions and images from others: an encoder of images beside one of text, and which captions are mistaken.

A caption's embedding has to pick out its own image's among those of a batch, and the reverse: symmetric InfoNCE, as in
CLIP (Radford et al. 2021); the structured joint embedding of Reed et al. 2016 is the same with a hinge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit import whole_batch
from gankit.data.distort import Distortion, distort
from gankit.nn import LeakyReLU
from gankit.plugin import Step
from gankit.text.encoders import build

if TYPE_CHECKING:
    from gankit.plugin import DataSpec
    from gankit.text.config import TextConfig

__all__ = ["BANK", "SIDE", "ImageEncoder", "embedded", "encoders", "match_loss", "mistaken", "others"]

SIDE = 32
"""Images are brought to this size."""
HOTTEST = 100.0
"""Greatest factor on the similarities."""
BANK = 1024
"""Captions among which a drawn image's own has to be found. In a batch alone coarse traits, such as colours, already
tell most captions apart, and a generator would learn fine ones slowly."""
DISTORTION = Distortion(shift=0.06, degrees=10.0, scale=0.0, noise=0.02)
"""Of what the image encoder sees while it is trained alone, and of what is drawn. Not scaled: captions may say how
large or how thick."""
SAME = 0.93
"""Cosine of two captions' embeddings above which they count as saying the same. Of captioned digits 92% of paraphrases
are above it, and 2% of captions that differ in the weight of the stroke by one, which are the nearest others."""


class ImageEncoder(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to unit vectors (N, size)."""

    def __init__(self, channels: int, size: int, width: int = 32) -> None:
        super().__init__()
        wide, wider = 2 * width, 4 * width
        sizes = ((channels, width, 5, 2), (width, wide, 4, 2), (wide, wide, 3, 1), (wide, wider, 4, 2))
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in sizes:
            layers += [nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)]
            layers += [nn.BatchNorm2d(outputs), LeakyReLU(negative_slope=0.1)]
        self.body = nn.Sequential(*layers)
        self.embed = nn.Linear(wider * (SIDE // 8) ** 2, size)
        self.scale = nn.Parameter(torch.tensor(3.2))
        """Logarithm of the factor on the similarities."""
        self.bank: Tensor
        """Unit embeddings of captions to be told from a drawn image's own."""
        self.register_buffer("bank", torch.zeros(BANK, size))
        self.frozen = False

    def freeze(self) -> ImageEncoder:
        """No gradients from now on, and eval mode for good."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> ImageEncoder:
        return super().train(mode and not self.frozen)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.embed(self.body(sized(images)).flatten(1)).float(), dim=1)

    def distorted(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The same of images that are each a little distorted, in the size in which they are seen."""
        return self(distort(sized(images), DISTORTION, generator))

    def match(self, images: Tensor, texts: Tensor, generator: torch.Generator) -> Tensor:
        """How badly images (N, C, H, W) are told from others by embeddings (N, size), and the reverse: scalar, nats.

        Each image is seen a little distorted. Else a generator learns to please the encoder more than real images do.
        """
        seen, texts = self.distorted(images, generator), F.normalize(texts.float(), dim=1)
        return self.find(whole_batch.gather(seen), whole_batch.gather(texts), self.bank)

    def contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        """Symmetric InfoNCE of unit vectors (N, size), row to row: scalar, in nats."""
        logits = self.scale.exp().clamp(max=HOTTEST) * images @ texts.T
        target = torch.arange(len(images), device=images.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def find(self, images: Tensor, texts: Tensor, others: Tensor) -> Tensor:
        """The same by texts that are trained already, with `others` (M, size) among them: those that say what an
        image's own says are left out."""
        scale, among = self.scale.exp().clamp(max=HOTTEST), torch.cat([texts, others])
        target = torch.arange(len(images), device=images.device)
        same = texts @ among.T > SAME
        same[target, target] = False
        of_images = (scale * images @ among.T).masked_fill(same, -torch.inf)
        of_texts = (scale * texts @ images.T).masked_fill(same[:, : len(texts)], -torch.inf)
        return (F.cross_entropy(of_images, target) + F.cross_entropy(of_texts, target)) / 2


def sized(images: Tensor) -> Tensor:
    """Images (N, C, H, W) brought to SIDE x SIDE."""
    if images.shape[-2:] == (SIDE, SIDE):
        return images
    return F.interpolate(images.float(), (SIDE, SIDE), mode="bilinear", antialias=True)


def encoders(config: TextConfig, spec: DataSpec) -> dict[str, Any]:
    """A variant's networks ``text``, and ``images`` beside it where the text encoder is trained here."""
    text = build(config, spec)
    if config.encoder != "char-cnn-rnn":
        return {"text": text}
    return {"text": text, "images": ImageEncoder(spec.image_shape[0], text.size).freeze()}


def embedded(step: Step) -> Tensor:
    """Of the captions of a step's batch, by its network ``text``: (N, size), without a graph, once a step."""

    def embed() -> Tensor:
        with torch.no_grad():
            return step.networks["text"](step.batch["text"])

    return step.shared("embedding", embed)


def match_loss(step: Step, images: Tensor, texts: Tensor) -> Tensor:
    """:meth:`ImageEncoder.match` by the network ``images`` of a step."""
    encoder: Any = step.networks["images"]
    return encoder.match(images, texts, step.generator)


def mistaken(step: Step, values: Tensor, mismatch: str) -> Tensor:
    """Of `values` (N, ...) of the samples of the batch, those of the one whose caption each is not to be taken for.

    `mismatch`: ``any`` other one, or the ``near``est, of the whole batch.
    """
    texts = whole_batch.gather(embedded(step))
    found = others(texts) if mismatch == "near" else torch.arange(len(texts), device=texts.device).roll(1)
    return whole_batch.gather(values)[whole_batch.rows(found)]


def others(texts: Tensor) -> Tensor:
    """For each of the captions with embeddings (N, size) another one that is nearly right: indices, int64 (N,).

    A caption drawn at random differs in so much that telling it from the right one teaches a discriminator little. The
    nearest is taken that does not say the same; where all do, the next in the batch.
    """
    texts = F.normalize(texts.float(), dim=1)
    alike = texts @ texts.T
    nearest = alike.masked_fill(alike > SAME, -2.0).max(1)
    following = torch.arange(len(texts), device=texts.device).roll(-1)
    return torch.where(nearest.values < -1.5, following, nearest.indices)
