"""A step of CycleGAN with the published networks against a loop written by hand in plain torch, taking turns.

    python benchmarks/bench_cyclegan.py [--sizes 128,256] [--precisions float32,bf16] [--device D]
        [--rounds N] [--cudnn-benchmark] [--json FILE]

The loop does what the authors' code does in its order: generators first, each forward by itself, discriminators frozen
meanwhile, a pool of images, Adam; torch's own layers, NCHW. Ours is the trainer's step with all it does but an average,
which the paper has none of. Rows have the ratio of times, what autograd keeps for the generators' backward in both, the
part of our step that is not convolutions, and by how much the losses of both differ for the same weights and images.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.api import make_session
from gankit.bench import append
from gankit.bench.kept import kept_bytes
from gankit.bench.step import compare
from gankit.device import autocast
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit.runs.environment import environment
from gankit.training.session import Session

SIDES = {"a": "b", "b": "a"}


class NoiseConfig(Config):
    size: int = 256


class Noise(Dataset[NoiseConfig]):
    """Pictures of noise, without pairs."""

    Config = NoiseConfig
    in_memory = True

    @property
    def spec(self) -> DataSpec:
        image = Key(kind="image", shape=(3, self.config.size, self.config.size))
        return DataSpec(keys={"a": image, "b": image})

    def streams(self) -> dict[str, int]:
        return {"a": 8, "b": 8}

    def batch(self, indices: Any) -> dict[str, Tensor]:
        return {name: self._images(name)[rows] for name, rows in indices.items()}

    def _images(self, name: str) -> Tensor:
        drawn = torch.Generator().manual_seed(ord(name))
        return torch.randint(0, 256, (8, 3, self.config.size, self.config.size), generator=drawn, dtype=torch.uint8)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(True)),
            *(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def generator() -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7), nn.InstanceNorm2d(64), nn.ReLU(True)]
    for width in (64, 128):
        layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU(True)]
    layers += [Block(256) for _ in range(9)]
    for width in (256, 128):
        layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1), nn.InstanceNorm2d(width // 2), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())


def discriminator() -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for less, more, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        layers += [nn.Conv2d(less, more, 4, stride, 1), nn.InstanceNorm2d(more), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


class ByHand:
    """The loop, with copies of the weights of `session`."""

    def __init__(self, session: Session) -> None:
        self.session, self.random, device = session, random.Random(0), session.device
        self.nets: dict[str, nn.Module] = {}
        for name, other in SIDES.items():
            self.nets[f"{name}_to_{other}"] = generator().to(device)
            self.nets[f"discriminator_{name}"] = discriminator().to(device)
        for name, net in self.nets.items():
            ours = _convolutions(session.networks[name])
            for mine, (weight, bias) in zip(_convolutions(net), ours, strict=True):
                mine[0].data.copy_(weight.data)
                mine[1].data.copy_(bias.data)
        generators = [p for name, net in self.nets.items() if "_to_" in name for p in net.parameters()]
        judges = [p for name, net in self.nets.items() if "_to_" not in name for p in net.parameters()]
        self.optimizers = [torch.optim.Adam(group, 2e-4, (0.5, 0.999)) for group in (generators, judges)]
        self.pools: dict[str, list[Tensor]] = {name: [] for name in SIDES}
        data = session.dataset.batch({name: torch.arange(8) for name in SIDES})
        self.images = {name: data[name].to(device).float() / 127.5 - 1 for name in SIDES}

    def generators(self, real: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss, fakes = torch.zeros((), device=self.session.device), {}
        for name, other in SIDES.items():
            there, back = self.nets[f"{name}_to_{other}"], self.nets[f"{other}_to_{name}"]
            fakes[other] = fake = there(real[name])
            judged = self.nets[f"discriminator_{other}"](fake).float()
            loss = loss + F.mse_loss(judged, torch.ones_like(judged))
            loss = loss + 10 * F.l1_loss(back(fake).float(), real[name])
            loss = loss + 5 * F.l1_loss(there(real[other]).float(), real[other])
        return loss, fakes

    def judged(self, real: dict[str, Tensor], fakes: dict[str, Tensor]) -> Tensor:
        loss = torch.zeros((), device=self.session.device)
        for name in SIDES:
            judge = self.nets[f"discriminator_{name}"]
            on_real, on_fake = judge(real[name]).float(), judge(self.query(name, fakes[name].detach())).float()
            both = F.mse_loss(on_real, torch.ones_like(on_real)) + F.mse_loss(on_fake, torch.zeros_like(on_fake))
            loss = loss + both / 2
        return loss

    def query(self, name: str, fake: Tensor) -> Tensor:
        pool = self.pools[name]
        if len(pool) < 50:
            pool.append(fake)
            return fake
        if self.random.random() < 0.5:
            return fake
        place = self.random.randrange(50)
        pool[place], older = fake, pool[place]
        return older

    def freeze(self, frozen: bool) -> None:
        for name in SIDES:
            self.nets[f"discriminator_{name}"].requires_grad_(not frozen)

    def __call__(self, index: int) -> None:
        real = {name: images[index % 8 : index % 8 + 1] for name, images in self.images.items()}
        with autocast(self.session.precision, self.session.device):
            self.freeze(True)
            self.optimizers[0].zero_grad()
            loss, fakes = self.generators(real)
        loss.backward()
        self.optimizers[0].step()
        self.freeze(False)
        self.optimizers[1].zero_grad()
        with autocast(self.session.precision, self.session.device):
            loss = self.judged(real, fakes)
        loss.backward()
        self.optimizers[1].step()


def _convolutions(network: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Weight and bias of each convolution, in order; a bias may be that of the leaky ReLU behind."""
    found: list[list[nn.Parameter]] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            found.append([module.weight, *([module.bias] if module.bias is not None else [])])
        elif found and len(found[-1]) == 1 and getattr(module, "bias", None) is not None:
            found[-1].append(module.bias)  # type: ignore[arg-type]
    return [(weight, bias) for weight, bias in found]


def share_of_convolutions(session: Session) -> float:
    """Of the time that the device spends on a step of ours."""
    on_gpu = session.device.type == "cuda"
    with torch.profiler.profile() as profile:
        session.train_step(0)
        session.meter.drain()
    events = [e for e in profile.key_averages() if e.device_type == torch.autograd.DeviceType.CPU]  # not kernels again
    times = {e.key: e.self_device_time_total if on_gpu else e.self_cpu_time_total for e in events}
    return sum(time for key, time in times.items() if "conv" in key and "reorder" not in key) / sum(times.values())


def row(size: int, precision: str, rounds: int, device: str) -> dict[str, Any]:
    torch.manual_seed(0)
    data = Noise(NoiseConfig(size=size))
    session = make_session("cyclegan", data, preset="paper", device=device, precision=precision)
    session.begin()
    by_hand = ByHand(session)
    step = session.new_step(0)
    with autocast(session.precision, session.device):
        ours = float(sum(session.variant._generators(step).values()).detach())
        theirs = float(by_hand.generators({name: step.batch[name] for name in SIDES})[0].detach())
        kept = {}
        for name, loss in (
            ("ours", lambda: sum(session.variant._generators(session.new_step(0)).values())),
            ("by hand", lambda: by_hand.generators({name: step.batch[name] for name in SIDES})[0]),
        ):
            nets = session.networks if name == "ours" else by_hand.nets
            own = [p for net in nets.values() for p in net.parameters()]
            kept[name] = kept_bytes(loss, own) / 2**20  # type: ignore[arg-type]
    found = compare(session, by_hand, rounds=rounds, seconds=0.0)
    return {
        "bench": "cyclegan_step",
        "size": size,
        "batch": 1,
        "precision": session.precision,
        "ours_ms": round(found["trainer_ms"], 1),
        "by_hand_ms": round(found["loop_ms"], 1),
        "times_faster": round(1 / found["ratio"], 3),
        "rounds": rounds,
        "kept_mib": round(kept["ours"], 1),
        "kept_mib_by_hand": round(kept["by hand"], 1),
        "kept_ratio": round(kept["ours"] / kept["by hand"], 3),
        "not_convolution": round(1 - share_of_convolutions(session), 4),
        "loss_difference": abs(ours - theirs) / theirs,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        **environment(session.device, type(session.variant), Noise),
    }


def rows(sizes: list[int], precisions: list[str], rounds: int, device: str) -> Iterator[dict[str, Any]]:
    for size in sizes:
        for precision in precisions:
            yield row(size, precision, rounds, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="128,256")
    parser.add_argument("--precisions", default="float32,bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cudnn-benchmark", action="store_true", help="both have cuDNN try its convolutions out")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = arguments.cudnn_benchmark
    sizes, precisions = [int(s) for s in arguments.sizes.split(",")], arguments.precisions.split(",")
    for found in rows(sizes, precisions, arguments.rounds, arguments.device):
        text = f"{found['size']} {found['precision']:8} {found['ours_ms']:9.1f} ms, by hand {found['by_hand_ms']:9.1f}"
        print(f"{text}: x {found['times_faster']:.2f}, kept x {found['kept_ratio']:.2f}", file=sys.stderr)
        append(found, arguments.json)


if __name__ == "__main__":
    main()
