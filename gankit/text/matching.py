"""Training a text encoder on image-text pairs.

A caption's embedding has to pick out its own image's embedding among those of a batch, and the reverse: symmetric
InfoNCE, as in CLIP (Radford et al. 2021); the structured joint embedding of Reed et al. 2016 is the same with a hinge.
Nothing but the pairs is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.data.images import to_float
from gankit.nn import LeakyReLU
from gankit.plugin import Preparation, Step

if TYPE_CHECKING:
    from gankit.plugin import Batch
    from gankit_plugin_stackgan.config import TextConfig
    from gankit_plugin_stackgan.text import CharCNNRNN

SIDE = 32
"""Images are brought to this size."""
HOTTEST = 100.0
"""Greatest factor on the similarities."""
BANK = 1024
"""Captions among which a drawn image's own has to be found. In a batch alone coarse traits, such as colours, already
tell most captions apart, and a generator would learn fine ones slowly."""
SAME = 0.85
"""Cosine of two captions' embeddings above which they count as saying the same."""


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
        if images.shape[-2:] != (SIDE, SIDE):
            images = F.interpolate(images.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
        return F.normalize(self.embed(self.body(images).flatten(1)).float(), dim=1)

    def match(self, images: Tensor, texts: Tensor) -> Tensor:
        """How badly images (N, C, H, W) are told from others by embeddings (N, size), and the reverse: scalar, nats."""
        texts = F.normalize(texts.float(), dim=1)
        return self.contrast(self(images), texts, self.bank)

    def contrast(self, images: Tensor, texts: Tensor, others: Tensor | None = None) -> Tensor:
        """Symmetric InfoNCE of unit vectors (N, size), row to row, with `others` among the texts: scalar, in nats."""
        scale = self.scale.exp().clamp(max=HOTTEST)
        target = torch.arange(len(images), device=images.device)
        among = texts if others is None else torch.cat([texts, others])
        of_images, of_texts = scale * images @ among.T, scale * texts @ images.T
        return (F.cross_entropy(of_images, target) + F.cross_entropy(of_texts, target)) / 2


def embedded(step: Step) -> Tensor:
    """Of the captions of a step's batch, by its network ``text``: (N, size), without a graph, once a step."""

    def embed() -> Tensor:
        with torch.no_grad():
            return step.networks["text"](step.batch["text"])

    return step.shared("embedding", embed)


def mistaken(step: Step, mismatch: str) -> Tensor:
    """Of each sample of the batch, the one whose caption it is not to be taken for: indices, int64 (N,).

    `mismatch`: ``any`` other one, or the ``near``est.
    """
    texts = embedded(step)
    return others(texts) if mismatch == "near" else torch.arange(len(texts), device=texts.device).roll(1)


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


def sameness(images: Tensor) -> Tensor:
    """How alike the images (N, C, H, W) of the second half are to those of the first, one to one: scalar, at most 50.

    The reciprocal of the mean absolute difference, as in mode seeking (Mao et al. 2019).
    """
    half = len(images) - len(images) // 2
    apart = (images[: len(images) - half] - images[half:]).float().abs().mean((1, 2, 3))
    return (1 / (apart + 0.02)).sum() / max(len(apart), 1)


def coarsen(images: Tensor, side: int) -> Tensor:
    """Half of the images (N, C, H, W) as they look in the size `side`; same shape."""
    half = len(images) // 2
    small = F.interpolate(images[:half], (side, side), mode="area")
    return torch.cat([F.interpolate(small, images.shape[-2:], mode="bilinear"), images[half:]])


def blur(text: Tensor, generator: torch.Generator) -> Tensor:
    """Captions (N, L) as bytes, moved right by up to 7 and with every 30th byte blotted out: no two readings alike."""
    moved = F.pad(text, (int(torch.randint(8, (), generator=generator)), 0))[:, : text.shape[1]]
    blot = (torch.rand(moved.shape, generator=generator) < 0.03) & (moved > 0)
    return moved.masked_fill(blot, ord(" "))


def nudge(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W), all moved by the same up to 2 pixels; edges are repeated."""
    y, x = torch.randint(5, (2,), generator=generator).tolist()
    height, width = images.shape[-2:]
    return F.pad(images, (2, 2, 2, 2), mode="replicate")[..., y : y + height, x : x + width]


class EncoderTraining:
    """Trains a text and an image encoder on the pairs of a training split."""

    def __init__(
        self, encoder: CharCNNRNN, images: ImageEncoder, low: int, config: TextConfig, preparation: Preparation
    ) -> None:
        self.encoder, self.images, self.low, self.config = encoder, images, low, config
        self.train, self.device = preparation.train, preparation.device
        self.preparation = preparation
        self.size = min(config.batch_size, len(self.train))
        seed = torch.randint(2**62, (), generator=preparation.generator, device=self.device)
        self.draw = torch.Generator().manual_seed(int(seed))
        self._order = torch.empty(0, dtype=torch.int64)
        self._recent: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """What a loop needs to go on, beside the encoders and their optimiser."""
        return {"draw": self.draw.get_state(), "order": self._order, "recent": self._recent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of :meth:`state_dict`."""
        self.draw.set_state(state["draw"])
        self._order, self._recent = state["order"], state["recent"]

    def run(self) -> None:
        """Both encoders together, then the image encoder alone among far more captions."""
        report = self.preparation.report
        report(f"Training the text encoder on {len(self.train)} image-text pairs ...")
        self.images.requires_grad_(True).train()
        both = [*self.encoder.parameters(), *self.images.parameters()]
        loss = self._fit("training the text encoder", both, self.config.steps, self._both)
        if self.config.image_steps:
            self._chosen, self._known = self._read()
            alone = list(self.images.parameters())
            self._fit("training the image encoder", alone, self.config.image_steps, self._images_alone)
        self.images.freeze()
        _, known = self._read(BANK)
        self.images.bank.copy_(known.repeat(-(-BANK // len(known)), 1)[:BANK])
        report(f"The text encoder is trained (loss {loss:.2f} nats).")

    def _fit(self, what: str, parameters: list[nn.Parameter], steps: int, loss_of: Callable[[], Tensor]) -> float:
        """Takes `steps` steps; the mean loss of the last 20."""
        lr = self.config.lr
        optimizer = torch.optim.AdamW(parameters, lr, betas=(0.9, 0.99), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
        self._recent = []
        for _ in self.preparation.loop(steps, what, optimizer=optimizer, schedule=schedule, training=self):
            loss = loss_of()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            self._recent = [*self._recent[-19:], loss.detach()]
        return float(torch.stack(self._recent).mean())

    def _both(self) -> Tensor:
        if len(self._order) < self.size:
            self._order = torch.randperm(len(self.train), generator=self.draw)
        chosen, self._order = self._order[: self.size], self._order[self.size :]
        batch = self.train.batch(chosen)
        read = F.normalize(self.encoder(blur(batch["text"], self.draw).to(self.device)), dim=1)
        return self.images.contrast(self._see(batch), read)

    def _images_alone(self) -> Tensor:
        rows = torch.randint(len(self._chosen), (self.size + BANK,), generator=self.draw)
        pairs, others = self._known[rows[: self.size]], self._known[rows[self.size :]]
        return self.images.contrast(self._see(self.train.batch(self._chosen[rows[: self.size]])), pairs, others)

    def _see(self, batch: Batch) -> Tensor:
        """Embeddings of a batch's images, moved a little, half of them as coarse as stage I's."""
        return self.images(nudge(coarsen(to_float(batch["image"].to(self.device)), self.low), self.draw))

    @torch.no_grad()
    def _read(self, most: int = 16384) -> tuple[Tensor, Tensor]:
        """At most `most` samples, int64 (N,), and the unit embeddings of their captions, (N, size)."""
        chosen = torch.randperm(len(self.train), generator=self.draw)[:most]
        texts = [self.encoder(self.train.batch(part)["text"].to(self.device)) for part in chosen.split(256)]
        return chosen, F.normalize(torch.cat(texts), dim=1)
