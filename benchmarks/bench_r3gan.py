"""The discriminator's step of r3gan through gankit's ops against the same in torch's own, gain by gain.

    python benchmarks/bench_r3gan.py [--batch N] [--width N] [--threads N] [--json FILE]

A step: logits of a batch of reals and one of fakes, relativistic pairs, both penalties, backward, Adam. All candidates
have the same weights and images and take turns in one process. The first is what one writes in a notebook: torch's
convolutions and leaky ReLU, float32, exact penalties; each further one changes one thing more, or one thing of it.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gankit_plugin_r3gan import R3GAN
from gankit_plugin_r3gan.config import R3GANConfig
from gankit_plugin_r3gan.networks import Halve
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.bench import append, measure
from gankit.bench.clock import clock_for
from gankit.bench.kept import kept_bytes
from gankit.bench.run import machine
from gankit.device import autocast
from gankit.losses import approx_penalty, r1_penalty, relativistic_d_loss
from gankit.nn import Conv2d, LeakyReLU
from gankit.plugin import DataSpec, Key


@dataclass(frozen=True)
class Candidate:
    """How a step is taken."""

    name: str
    ours: tuple[type[nn.Module], ...] = ()
    """The layers that are gankit's; the others are made of torch's own ops."""
    layout: torch.memory_format = torch.contiguous_format
    bf16: bool = False
    approx: bool = False


ALL = (Conv2d, LeakyReLU, Halve)
LAST = torch.channels_last
CANDIDATES = (
    Candidate("plain"),
    Candidate("plain, approx", approx=True),
    Candidate("plain, channels_last", layout=LAST),
    Candidate("plain, bf16, channels_last", layout=LAST, bf16=True),
    Candidate("plain, bf16, channels_last, approx", layout=LAST, bf16=True, approx=True),
    Candidate("conv2d", ours=(Conv2d,)),
    Candidate("leaky_relu", ours=(LeakyReLU,)),
    Candidate("ours", ours=ALL),
    Candidate("ours, approx", ours=ALL, approx=True),
    Candidate("ours, channels_last", ours=ALL, layout=LAST),
    Candidate("ours, bf16, channels_last", ours=ALL, layout=LAST, bf16=True),
    Candidate("ours, bf16, channels_last, approx", ours=ALL, layout=LAST, bf16=True, approx=True),
)


class PlainConv2d(nn.Module):
    """torch's convolution, with the weight of `layer`."""

    def __init__(self, layer: Conv2d) -> None:
        super().__init__()
        self.weight = layer.weight
        self.padding, self.groups = layer.padding, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, None, 1, self.padding, 1, self.groups)


class PlainLeakyReLU(nn.Module):
    """A bias and a leaky ReLU, one after the other."""

    def __init__(self, layer: LeakyReLU) -> None:
        super().__init__()
        assert layer.bias is not None
        self.bias, self.negative_slope = layer.bias, layer.negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias.to(x.dtype).view(-1, 1, 1), self.negative_slope)


class PlainHalve(nn.Module):
    """A convolution of each channel with [1, 3, 3, 1], two pixels at a time."""

    def __init__(self, layer: Halve) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(taps, taps))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4), None, 2, 1, 1, x.shape[1])


PLAIN: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    Conv2d: PlainConv2d,
    LeakyReLU: PlainLeakyReLU,
    Halve: PlainHalve,
}


def network_of(candidate: Candidate, network: nn.Module) -> nn.Module:
    """A copy of `network` with plain layers in place of those that are not to be gankit's."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) in PLAIN and type(layer) not in candidate.ours:
                setattr(parent, name, PLAIN[type(layer)](layer))
    return network.to(memory_format=candidate.layout)  # type: ignore[call-overload]


class Step:
    """A candidate's step on images that stay the same."""

    def __init__(self, candidate: Candidate, network: nn.Module, real: Tensor, fake: Tensor) -> None:
        self.candidate = candidate
        self.network = network_of(candidate, network)
        self.real, self.fake = (images.contiguous(memory_format=candidate.layout) for images in (real, fake))
        # a rate of 0: all candidates keep the same weights
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.0, betas=(0.0, 0.9), fused=True)

    def judged(self, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Logits and penalty."""
        kept: list[Tensor] = []

        def judge(images: Tensor) -> Tensor:
            kept.append(self.network(images))
            return kept[-1]

        if self.candidate.approx:
            generator = torch.Generator(images.device).manual_seed(seed)
            scale = 0.1 if self.candidate.bf16 else 0.01  # what 16 bits resolve
            penalty = approx_penalty(judge, images, scale=scale, generator=generator)
        else:
            penalty = r1_penalty(judge, images)
        return kept[0], penalty

    def loss(self) -> Tensor:
        with autocast("bf16" if self.candidate.bf16 else "float32", self.real.device):
            real, r1 = self.judged(self.real, 0)
            fake, r2 = self.judged(self.fake, 1)
            return relativistic_d_loss(real, fake) + 0.5 * (r1 + r2)

    def gradient(self) -> Tensor:
        """Of all weights, one after the other, float32."""
        weights = dict(self.network.named_parameters())
        gradients = torch.autograd.grad(self.loss(), [weights[name] for name in sorted(weights)])
        return torch.cat([g.float().flatten() for g in gradients])

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()

    def kept_bytes(self) -> int:
        """What autograd keeps for backward when the loss has been computed."""
        return kept_bytes(self.loss, (*self.network.parameters(), self.real, self.fake))


def rows(batch: int, width: int, size: int, device: torch.device, seconds: float) -> Iterator[dict[str, Any]]:
    """One a candidate."""
    torch.manual_seed(0)
    spec = DataSpec(keys={"image": Key(kind="image", shape=(3, size, size))})
    network = R3GAN(R3GANConfig(width=width)).networks(spec)["discriminator"].to(device)
    for p in network.parameters():  # as training leaves it: no layer is 0 any more
        p.data.add_(0.02 * torch.randn_like(p))
    real, fake = (torch.rand(batch, 3, size, size, device=device) * 2 - 1 for _ in range(2))
    steps = {one.name: Step(one, network, real, fake) for one in CANDIDATES}
    wanted = {approx: steps["plain, approx" if approx else "plain"].gradient() for approx in (False, True)}
    errors = {
        name: float((step.gradient() - wanted[step.candidate.approx]).norm() / wanted[step.candidate.approx].norm())
        for name, step in steps.items()
    }
    timings = measure(steps, clock_for(device), seconds=seconds)
    medians = {name: statistics.median(times) for name, times in timings.items()}
    about = machine(device)
    for one in CANDIDATES:
        yield {
            "bench": "r3gan_d_step",
            "candidate": one.name,
            "ours": [layer.__name__ for layer in one.ours],
            "layout": "channels_last" if one.layout is LAST else "nchw",
            "precision": "bf16" if one.bf16 else "float32",
            "penalty": "approx" if one.approx else "exact",
            "batch": batch,
            "image": [3, size, size],
            "width": width,
            "median_ms": round(medians[one.name] * 1e3, 2),
            "min_ms": round(min(timings[one.name]) * 1e3, 2),
            "samples": len(timings[one.name]),
            "times_faster": round(medians["plain"] / medians[one.name], 3),
            "kept_mib": round(steps[one.name].kept_bytes() / 2**20, 1),
            "gradient_error": float(f"{errors[one.name]:.2e}"),
            **about,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="threads of torch; by default as many as it takes")
    parser.add_argument(
        "--seconds", type=float, default=120, help="about how long all of it takes; seven rounds at least"
    )
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    for row in rows(arguments.batch, arguments.width, arguments.size, device, arguments.seconds):
        print(
            f"{row['candidate']:36} {row['median_ms']:9.1f} ms  x {row['times_faster']:5.2f}  kept "
            f"{row['kept_mib']:7.1f} MiB  gradient off by {row['gradient_error']:.1e}",
            file=sys.stderr,
        )
        append(row, arguments.json)


if __name__ == "__main__":
    main()
