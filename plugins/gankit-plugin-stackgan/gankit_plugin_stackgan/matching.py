"""Training a text encoder on image-text pairs.

A caption's embedding has to pick out its own image's embedding among those of a batch, and the reverse: symmetric
InfoNCE, as in CLIP (Radford et al. 2021); the structured joint embedding of Reed et al. 2016 is the same with a hinge.
Nothing but the pairs is used.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.data.images import to_float
from gankit.nn import LeakyReLU
from gankit.plugin import Preparation

if TYPE_CHECKING:
    from gankit_plugin_stackgan.config import TextConfig
    from gankit_plugin_stackgan.text import CharCNNRNN

SIDE = 32
"""Images are brought to this size."""
HOTTEST = 100.0
"""Greatest factor on the similarities."""
BANK = 1024
"""Captions among which a drawn image's own has to be found. In a batch alone coarse traits, such as colours, already
tell most captions apart, and a generator would learn fine ones slowly."""


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
            images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
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


def coarsen(images: Tensor, sides: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Half of the images (N, C, H, W) as they look in a coarser size out of `sides`; same shape."""
    low = sides[int(torch.randint(len(sides), (), generator=generator))]
    half = len(images) // 2
    small = F.interpolate(images[:half], (low, low), mode="area")
    return torch.cat([F.interpolate(small, images.shape[-2:], mode="bilinear"), images[half:]])


def blur(text: Tensor, generator: torch.Generator) -> Tensor:
    """Captions (N, L) as bytes, moved right by up to 7 and with every 30th byte blotted out: no two readings alike."""
    moved = F.pad(text, (int(torch.randint(8, (), generator=generator)), 0))[:, : text.shape[1]]
    blot = (torch.rand(moved.shape, generator=generator) < 0.03) & (moved > 0)
    return moved.masked_fill(blot, ord(" "))


def train_on_pairs(
    encoder: CharCNNRNN, images: ImageEncoder, low: int, config: TextConfig, preparation: Preparation
) -> None:
    """Train both encoders on the training split's pairs; half of the images as coarse as stage I's, side `low`."""
    train, device, generator = preparation.train, preparation.device, preparation.generator
    began = time.perf_counter()
    preparation.report(f"Training the text encoder on {len(train)} image-text pairs ...")
    images.requires_grad_(True).train()
    parameters = [*encoder.parameters(), *images.parameters()]
    optimizer = torch.optim.AdamW(parameters, config.lr, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.steps, pct_start=0.15)
    size = min(config.batch_size, len(train))
    draw = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator, device=device)))
    order = torch.empty(0, dtype=torch.int64)
    recent: list[Tensor] = []
    for _ in range(config.steps):
        if len(order) < size:
            order = torch.randperm(len(train), generator=draw)
        chosen, order = order[:size], order[size:]
        batch = train.batch(chosen)
        real = coarsen(to_float(batch["image"].to(device)), (low,), draw)
        seen = images(real)
        read = F.normalize(encoder(blur(batch["text"], draw).to(device)), dim=1)
        loss = images.contrast(seen, read)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        recent = [*recent[-19:], loss.detach()]
    images.freeze()
    with torch.no_grad():
        chosen = torch.randint(len(train), (BANK,), generator=draw)
        texts = [encoder(train.batch(part)["text"].to(device)) for part in chosen.split(size)]
        images.bank.copy_(F.normalize(torch.cat(texts), dim=1))
    seconds = time.perf_counter() - began
    preparation.report(f"The text encoder is trained ({seconds:.0f} s, loss {torch.stack(recent).mean():.2f} nats).")
