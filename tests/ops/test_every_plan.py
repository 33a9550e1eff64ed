"""instance_norm_act on the sizes at which its CUDA kernels change, once each: what compute-sanitizer is run on."""

from __future__ import annotations

import pytest
import torch
from norm_cases import assert_close, call, channels_last, in_float64, make, randn

from gankit.ops import instance_norm_act
from gankit.ops.instance_norm_act import instance_norm_act_reference

pytestmark = pytest.mark.usefixtures("device")

# As an H200 takes them; docs/ops.md has the table. Images of the CPU are cut into segments from some of these sizes on.
PLANES = {
    "lanes of a warp": (1, 4, 30, 30),
    "a block": (2, 3, 80, 40),
    "a cluster of 2": (1, 4, 64, 64),
    "a cluster of 8": (1, 4, 256, 256),
    "a cluster of 16 backward": (1, 1, 512, 512),
    "split, with edges": (1, 1, 767, 769),
}
IMAGES = {
    "a cluster of 4": (1, 64, 64, 64),
    "a cluster of 8, 16 backward": (1, 16, 200, 200),
    "split in large parts": (1, 64, 256, 256),
    "split": (1, 32, 200, 300),
    "channels that are no whole packs": (2, 5, 90, 70),
}
CASES = [(shape, False) for shape in PLANES.values()] + [(shape, True) for shape in IMAGES.values()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("shape", "last"), CASES, ids=[*PLANES, *IMAGES])
def test_value_gradient_and_its_gradient(shape: tuple[int, ...], last: bool, dtype: torch.dtype) -> None:
    tensors = make(shape, dtype, residual=False, last=last)
    wide = in_float64(tensors)
    before = call(instance_norm_act_reference, wide, eps=0.1).detach()
    seed, v = (torch.where(before.abs() < 0.02, 0, randn(shape, s)).to(dtype) for s in (8, 9))  # off the kink
    seed, v = (channels_last(t) if last else t for t in (seed, v))
    found = []
    for op, given, to in ((instance_norm_act, tensors, dtype), (instance_norm_act_reference, wide, torch.float64)):
        y = call(op, given, negative_slope=0.2, eps=0.1)
        leaves = [given[name] for name in ("x", "weight", "bias")]
        gradients = torch.autograd.grad(y, leaves, seed.to(to), create_graph=True)
        (twice,) = torch.autograd.grad((gradients[0] * v.to(to)).sum(), leaves[0])
        found.append([y, *gradients, twice])
    plane = before.numel() // shape[1]
    for mine, reference, size in zip(*found, (1, 1, plane, plane, 1), strict=True):
        scale = max(1.0, float(reference.detach().abs().max()))
        assert_close(mine.detach() / scale, reference.detach() / scale, dtype, times=8 * size**0.5)
