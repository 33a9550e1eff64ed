"""The trainer's step against loops written out in plain torch, networks and all.

    python benchmarks/bench_step.py [--rounds N] [--json FILE]

The loops are what one writes in a notebook: images converted to float once and kept in memory, a random batch picked by
index, ``zero_grad``, ``backward``, ``step``, the fake detached for the discriminator and used again for the generator.
They keep no average, log nothing, watch nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.bench import append
from gankit.bench.step import Loop, bench_step
from gankit.device import autocast
from gankit.training.session import Session


def images_and_labels(session: Session) -> tuple[Tensor, Tensor | None]:
    """The training split as it would lie in a notebook."""
    batch = session.dataset.batch(torch.arange(len(session.dataset)))
    return batch["image"].to(session.device).float() / 127.5 - 1, batch.get("label")


def random_batches(length: int, size: int) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(length)
        yield from (order[i : i + size] for i in range(0, length - size + 1, size))


def cgan_loop_fused(session: Session) -> Loop:
    """The same as :func:`cgan_loop`, by someone who knows of ``Adam(fused=True)``."""
    return cgan_loop(session, fused=True)


def cgan_loop(session: Session, *, fused: bool | None = None) -> Loop:
    """Conditional GAN of two-layer perceptrons (noise 100, one-hot labels, Adam 1e-3)."""
    images, labels = images_and_labels(session)
    assert labels is not None
    size, z, classes = session.loader.batch_size, 100, session.spec.classes()
    pixels = images[0].numel()
    hidden = session.resolved.options.hidden  # type: ignore[attr-defined]
    generator = nn.Sequential(nn.Linear(z + classes, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(pixels + classes, hidden), nn.ReLU(), nn.Linear(hidden, 1))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999), fused=fused)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999), fused=fused)
    flat = images.flatten(1)
    batches = random_batches(len(images), size)

    def loop(index: int) -> None:
        chosen = next(batches)
        real, condition = flat[chosen], F.one_hot(labels[chosen], classes).float()
        fake = generator(torch.cat([torch.randn(size, z), condition], 1))

        optimizer_d.zero_grad()
        on_real = discriminator(torch.cat([real, condition], 1))
        on_fake = discriminator(torch.cat([fake.detach(), condition], 1))
        loss = F.binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
        loss = loss + F.binary_cross_entropy_with_logits(on_fake, torch.zeros_like(on_fake))
        loss.backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        on_fake = discriminator(torch.cat([fake, condition], 1))
        F.binary_cross_entropy_with_logits(on_fake, torch.ones_like(on_fake)).backward()
        optimizer_g.step()

    return loop


def dcgan_networks(channels: int = 3, z: int = 100, width: int = 64) -> tuple[nn.Module, nn.Module]:
    """Radford et al. 2016 at 64x64: 3,576,704 and 2,765,568 weights for three channels."""
    up: list[nn.Module] = [
        nn.ConvTranspose2d(z, width * 8, 4, bias=False),
        nn.BatchNorm2d(width * 8),
        nn.ReLU(True),
    ]
    down: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    for more, less in ((8, 4), (4, 2), (2, 1)):
        up += [nn.ConvTranspose2d(width * more, width * less, 4, 2, 1, bias=False), nn.BatchNorm2d(width * less)]
        up += [nn.ReLU(True)]
    for less, more in ((1, 2), (2, 4), (4, 8)):
        down += [nn.Conv2d(width * less, width * more, 4, 2, 1, bias=False), nn.BatchNorm2d(width * more)]
        down += [nn.LeakyReLU(0.2, True)]
    up += [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
    down += [nn.Conv2d(width * 8, 1, 4, bias=False), nn.Flatten(0)]
    return nn.Sequential(*up), nn.Sequential(*down)


def dcgan_loop(session: Session) -> Loop:
    """DCGAN at 64x64 (Adam 2e-4)."""
    images, _ = images_and_labels(session)
    device, precision, size = session.device, session.precision, session.loader.batch_size
    generator, discriminator = dcgan_networks(images.shape[1])
    generator.to(device, memory_format=session.memory_format)  # type: ignore[call-overload]
    discriminator.to(device, memory_format=session.memory_format)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=session.memory_format)
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    batches = random_batches(len(images), size)

    def loop(index: int) -> None:
        real = images[next(batches)]
        with autocast(precision, device):
            fake = generator(torch.randn(size, 100, 1, 1, device=device))
            optimizer_d.zero_grad()
            on_real, on_fake = discriminator(real), discriminator(fake.detach())
            loss = F.binary_cross_entropy_with_logits(on_real.float(), torch.ones(size, device=device))
            loss = loss + F.binary_cross_entropy_with_logits(on_fake.float(), torch.zeros(size, device=device))
        loss.backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        with autocast(precision, device):
            on_fake = discriminator(fake)
            loss = F.binary_cross_entropy_with_logits(on_fake.float(), torch.ones(size, device=device))
        loss.backward()
        optimizer_g.step()

    return loop


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    """The trainer with all it does (average, NaN watch), and for the smallest networks also without the average."""
    cgan: dict[str, Any] = {"batch_size": 128, "noise": 0.0, "device": "cpu"}  # no noise on images: the loops have none
    for loop in (cgan_loop, cgan_loop_fused):
        for ema in (0.999, 0.0):
            yield bench_step("cgan", "digits", loop=loop, rounds=rounds, ema=ema, **cgan)
    dcgan: dict[str, Any] = {"preset": "paper", "noise": "normal", "ema": 0.999, "batch_size": 16, "device": "cpu"}
    yield bench_step("dcgan", "digits", loop=dcgan_loop, rounds=max(3, rounds // 2), **dcgan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    for row in rows(arguments.rounds):
        print(
            f"{row['against']:16} batch {row['batch_size']:4}  trainer {row['trainer_ms']:8.3f} ms  "
            f"by hand {row['loop_ms']:8.3f} ms  ratio {row['ratio']:.3f}  (ema {row['ema']})",
            file=sys.stderr,
        )
        append(row, arguments.json)


if __name__ == "__main__":
    main()
