"""UpsampleConv2d against the doubling and the convolution that it stands for, alone and in the steps of variants.

    python benchmarks/bench_upsample_conv2d.py [--device NAME] [--variants NAME[:PRESET],...] [--json FILE]

Both take turns in one process. ``ratio`` is the time of the two layers over ours (2: twice as fast): of a layer forward
and backward, in either layout, with zeros around; of a variant a whole step of the trainer (of `stackgan` in stage I).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from bench_options import prepared
from torch import Tensor
from torch.nn import functional as F

from gankit.bench import append, measure
from gankit.bench.clock import clock_for
from gankit.bench.run import machine
from gankit.nn import UpsampleConv2d

LAYERS = ((64, 128, 4, 64), (64, 64, 8, 32), (64, 32, 16, 16), (16, 256, 16, 128), (32, 64, 16, 64), (16, 64, 32, 32))
"""Images, channels in, side, channels out: of stackgan, dcgan's doublings, gawwn, inpaint."""


def two_layers(layer: UpsampleConv2d, x: Tensor) -> Tensor:
    """What `layer` stands for."""
    large = F.interpolate(x, scale_factor=2.0)
    if layer.padding_mode == "replicate":
        return F.conv2d(F.pad(large, (1, 1, 1, 1), mode="replicate"), layer.weight, layer.bias)
    return F.conv2d(large, layer.weight, layer.bias, padding=1)


def compared(candidates: dict[str, Callable[[], Any]], device: torch.device, seconds: float) -> dict[str, Any]:
    timings = measure(candidates, clock_for(device), seconds)
    ours, apart = (statistics.median(timings[name]) for name in ("ours", "two layers"))
    return {
        "ours_ms": ours * 1e3,
        "two_layers_ms": apart * 1e3,
        "ratio": apart / ours,
        "ratio_of_best": min(timings["two layers"]) / min(timings["ours"]),
        "samples": len(timings["ours"]),
    }


def of_layer(n: int, inputs: int, side: int, outputs: int, layout: Any, device: torch.device) -> dict[str, Any]:
    layer = UpsampleConv2d(inputs, outputs).to(device, memory_format=layout)
    x = torch.randn(n, inputs, side, side, device=device).to(memory_format=layout).requires_grad_()
    learned = [x, *layer.parameters()]
    gradient = torch.randn_like(layer(x))
    candidates: dict[str, Callable[[], Any]] = {
        "ours": lambda: torch.autograd.grad(layer(x), learned, gradient),
        "two layers": lambda: torch.autograd.grad(two_layers(layer, x), learned, gradient),
    }
    about = {"shape": [n, inputs, side, side], "outputs": outputs, "layout": str(layout).removeprefix("torch.")}
    return {"bench": "upsample_conv2d", **about, **compared(candidates, device, 2.0)}


def of_steps(variant: str, device: torch.device) -> dict[str, Any]:
    name, _, preset = variant.partition(":")
    session = prepared(name, {"device": device.type, "preset": preset or "default"})
    if not any(isinstance(layer, UpsampleConv2d) for net in session.networks.values() for layer in net.modules()):
        raise SystemExit(f"{variant} has no UpsampleConv2d")
    index = iter(range(10**6))

    def ours() -> None:
        session.train_step(next(index))
        session.meter.drain()

    def apart() -> None:
        with patch.object(UpsampleConv2d, "forward", two_layers):
            ours()

    layout = str(session.memory_format).removeprefix("torch.")
    figures = compared({"ours": ours, "two layers": apart}, device, 30.0)
    session.close()
    return {"bench": "upsample_conv2d", "step": variant, "layout": layout, **figures}


def rows(device: torch.device, variants: list[str]) -> Iterator[dict[str, Any]]:
    for layer in LAYERS:
        for layout in (torch.contiguous_format, torch.channels_last):
            yield of_layer(*layer, layout, device)
    for name in variants:
        yield of_steps(name, device)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variants", default="stackgan,gawwn,inpaint,cgan:conv")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    device = torch.device(asked.device)
    for row in rows(device, [name for name in asked.variants.split(",") if name]):
        print(" ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
        append({**row, **machine(device)}, asked.json)


if __name__ == "__main__":
    main(sys.argv[1:])
