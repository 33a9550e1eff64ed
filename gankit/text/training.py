"""Training a text encoder, and an image encoder beside it, on the pairs of a dataset; nothing else is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.data.images import to_float
from gankit.plugin import Preparation
from gankit.text.matching import BANK

if TYPE_CHECKING:
    from gankit.text.config import TextConfig
    from gankit.text.encoders import CharCNNRNN
    from gankit.text.matching import ImageEncoder

__all__ = ["EncoderTraining", "blur", "coarsen", "nudge"]


def coarsen(images: Tensor, side: int) -> Tensor:
    """Half of the images (N, C, H, W) as they look in squares of `side`, if they are larger; same shape."""
    if side >= min(images.shape[-2:]):
        return images
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
    """Trains a text and an image encoder on the pairs of a training split: its keys ``text`` and ``image``.

    Half of the images are seen as in squares of `low`, so that the encoder of images knows coarse ones, too, and all a
    little moved; turned and noised as well once the encoder of images is trained alone. Which it is not where nothing
    asks it: if `match`, the weight of what it says, is 0.
    """

    def __init__(
        self,
        encoder: CharCNNRNN,
        images: ImageEncoder,
        low: int,
        config: TextConfig,
        preparation: Preparation,
        match: float,
    ) -> None:
        self.encoder, self.images, self.low, self.config = encoder, images, low, config
        self.alone = config.image_steps if match else 0
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
        if self.alone:
            self._chosen, self._known = self._read()
            parameters = list(self.images.parameters())
            self._fit("training the image encoder", parameters, self.alone, self._images_alone)
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
        seen = self.images(nudge(coarsen(to_float(batch["image"].to(self.device)), self.low), self.draw))
        return self.images.contrast(seen, read)

    def _images_alone(self) -> Tensor:
        size = (self.size + 1) // 2  # captions to be told from are plenty; what counts is how many steps there are
        rows = torch.randint(len(self._chosen), (size + BANK,), generator=self.draw)
        pairs, others = self._known[rows[:size]], self._known[rows[size:]]
        images = to_float(self.train.batch(self._chosen[rows[:size]])["image"].to(self.device))
        return self.images.find(self.images.distorted(coarsen(images, self.low), self.draw), pairs, others)

    @torch.no_grad()
    def _read(self, most: int = 16384) -> tuple[Tensor, Tensor]:
        """At most `most` samples, int64 (N,), and the unit embeddings of their captions, (N, size)."""
        chosen = torch.randperm(len(self.train), generator=self.draw)[:most]
        texts = [self.encoder(self.train.batch(part)["text"].to(self.device)) for part in chosen.split(256)]
        return chosen, F.normalize(torch.cat(texts), dim=1)
