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


class ImageEncoder(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to unit vectors (N, size)."""

    def __init__(self, channels: int, size: int, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for k in range(3):
            inputs = channels if k == 0 else width << (k - 1)
            layers += [nn.Conv2d(inputs, width << k, 4, 2, 1, bias=False), nn.BatchNorm2d(width << k)]
            layers += [LeakyReLU(negative_slope=0.1)]
        self.body = nn.Sequential(*layers)
        self.embed = nn.Linear(4 * width * (SIDE // 8) ** 2, size)
        self.scale = nn.Parameter(torch.tensor(2.5))
        """Logarithm of the factor on the similarities."""
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


    def contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        """Symmetric InfoNCE of images (N, C, H, W) and embeddings (N, size), row to row: scalar, in nats."""
        logits = self.scale.exp().clamp(max=HOTTEST) * self(images) @ F.normalize(texts.float(), dim=1).T
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def coarsen(images: Tensor, sides: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Half of the images (N, C, H, W) as they look in a coarser size out of `sides`; same shape."""
    low = sides[int(torch.randint(len(sides), (), generator=generator))]
    half = len(images) // 2
    small = F.interpolate(images[:half], (low, low), mode="area")
    return torch.cat([F.interpolate(small, images.shape[-2:], mode="bilinear"), images[half:]])


def train_on_pairs(encoder: CharCNNRNN, images: ImageEncoder, low: int, config: TextConfig, preparation: Preparation) -> None:
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
        loss = images.contrast(real, encoder(batch["text"].to(device)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        recent = [*recent[-19:], loss.detach()]
    images.freeze()
    seconds = time.perf_counter() - began
    preparation.report(f"The text encoder is trained ({seconds:.0f} s, loss {torch.stack(recent).mean():.2f} nats).")
