"""The trainer's step against loops written out in plain torch, networks and all.

    python benchmarks/bench_step.py [--rounds N] [--variants NAMES] [--json FILE]

The loops are what one writes in a notebook: images converted to float once and kept in memory, a random batch picked by
index, ``zero_grad``, ``backward``, ``step``, the fake detached for the discriminator and used again for the generator.
They keep no average, log nothing, watch nothing. Of infogan, r3gan, theory and dcgan's default, whose losses are long,
the loop is ``minimal_loop``: it takes the variant's own networks and losses (``against`` in a row says which).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from quality_vae import ae_by_hand, random_batches, vae_by_hand
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


def gan_loop(session: Session) -> Loop:
    """The perceptrons z-1024-1024-784 and 784-256-256-1 (noise 0.1 on what D sees, Adam 5e-4)."""
    images, _ = images_and_labels(session)
    size, flat = session.loader.batch_size, images.flatten(1)
    pixels = flat.shape[1]
    generator = nn.Sequential(
        *(nn.Linear(100, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()), nn.Linear(1024, pixels), nn.Tanh()
    )
    discriminator = nn.Sequential(
        *(nn.Linear(pixels, 256), nn.LeakyReLU(0.2), nn.Linear(256, 256), nn.LeakyReLU(0.2)), nn.Linear(256, 1)
    )
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=5e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=5e-4, betas=(0.5, 0.999))
    batches = random_batches(len(images), size)

    def judged(x: Tensor) -> Tensor:
        return discriminator(x + 0.1 * torch.randn_like(x))

    def loop(index: int) -> None:
        fake = generator(torch.randn(size, 100))
        optimizer_d.zero_grad()
        on_real, on_fake = judged(flat[next(batches)]), judged(fake.detach())
        loss = F.binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
        loss = loss + F.binary_cross_entropy_with_logits(on_fake, torch.zeros_like(on_fake))
        loss.backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        on_fake = judged(fake)
        F.binary_cross_entropy_with_logits(on_fake, torch.ones_like(on_fake)).backward()
        optimizer_g.step()

    return loop


def wgan_networks(channels: int) -> tuple[nn.Module, nn.Module]:
    """DCGAN's for 32x32, critic without norms: widths 128-64-32 and 16-32-64."""
    up: list[nn.Module] = [nn.Linear(100, 128 * 16, bias=False), nn.Unflatten(1, (128, 4, 4))]
    up += [nn.BatchNorm2d(128), nn.ReLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False)]
    up += [nn.BatchNorm2d(64), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False)]
    up += [nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, channels, 4, 2, 1), nn.Tanh()]
    down: list[nn.Module] = []
    for less, more in ((channels, 16), (16, 32), (32, 64)):
        down += [nn.Conv2d(less, more, 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*up), nn.Sequential(*down, nn.Flatten(), nn.Linear(64 * 16, 1))


def wgan_loop(session: Session) -> Loop:
    """Five turns of the critic with a gradient penalty of weight 10, one of the generator (Adam 5e-4, 0, 0.9)."""
    images, _ = images_and_labels(session)
    size = session.loader.batch_size
    generator, critic = wgan_networks(images.shape[1])
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=5e-4, betas=(0.0, 0.9))
    optimizer_d = torch.optim.Adam(critic.parameters(), lr=5e-4, betas=(0.0, 0.9))
    batches = random_batches(len(images), size)

    def loop(index: int) -> None:
        for _ in range(5):
            real = images[next(batches)]
            with torch.no_grad():
                fake = generator(torch.randn(size, 100))
            between = torch.lerp(real, fake, torch.rand(size, 1, 1, 1)).requires_grad_()
            slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
            penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
            optimizer_d.zero_grad()
            (critic(fake).mean() - critic(real).mean() + 10 * penalty).backward()
            optimizer_d.step()
        optimizer_g.zero_grad()
        (-critic(generator(torch.randn(size, 100))).mean()).backward()
        optimizer_g.step()

    return loop


def autoencoder_loop(session: Session) -> Loop:
    """The networks of quality_vae.py (Adam at its first rate)."""
    images, _ = images_and_labels(session)
    options = session.resolved.options.model_dump()
    networks, loss, _ = (
        vae_by_hand() if session.resolved.variant == "vae" else ae_by_hand(options["width"], options["code_slope"])
    )
    optimizer = torch.optim.Adam(networks.parameters(), options["optim"]["lr"], options["optim"]["betas"])
    batches, flat = random_batches(len(images), session.loader.batch_size), images.flatten(1)

    def loop(index: int) -> None:
        optimizer.zero_grad()
        loss(flat[next(batches)]).backward()
        optimizer.step()

    return loop


def rows(rounds: int, variants: list[str]) -> Iterator[dict[str, Any]]:
    """The trainer with all it does (average, NaN watch), and for the smallest networks also without the average."""
    cgan: dict[str, Any] = {"batch_size": 128, "noise": 0.0}  # no noise on images: the loops have none
    cases: list[tuple[str, str | None, Callable[[Session], Loop] | None, dict[str, Any]]] = [
        *(("cgan", "digits", loop, cgan | {"ema": ema}) for loop in (cgan_loop, cgan_loop_fused) for ema in (0.999, 0)),
        ("dcgan", "digits", dcgan_loop, {"preset": "paper", "noise": "normal", "ema": 0.999, "batch_size": 16}),
        *(("gan", None, gan_loop, {"r1": 0.0}), ("wgan", None, wgan_loop, {})),
        *((variant, None, autoencoder_loop, {}) for variant in ("vae", "ae")),
        *((variant, None, None, {}) for variant in ("dcgan", "infogan", "r3gan", "theory")),
    ]
    for variant, dataset, loop, options in cases:
        if not variants or variant in variants:
            yield bench_step(variant, dataset, loop=loop, rounds=rounds, device="cpu", **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--variants", help="comma-separated; all of them if not given")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    for row in rows(arguments.rounds, arguments.variants.split(",") if arguments.variants else []):
        print(
            f"{row['variant']:8} {row['against']:16} batch {row['batch_size']:4}  trainer {row['trainer_ms']:8.3f} ms  "
            f"by hand {row['loop_ms']:8.3f} ms  ratio {row['ratio']:.3f}  (ema {row['ema']})",
            file=sys.stderr,
        )
        append(row, arguments.json)


if __name__ == "__main__":
    main()
