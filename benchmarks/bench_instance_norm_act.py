"""instance_norm_act beside eager torch, torch.compile and plain copies, under pytest-benchmark.

    pytest benchmarks/bench_instance_norm_act.py [-k "1x64x256x256 and nchw"] [--benchmark-json FILE]

The shapes are a CycleGAN generator's maps at three depths, a small-batch discriminator's, and then those that are all
overhead: 4x4 planes in plenty, one sample of odd size, a single plane. `gankit bench ops` takes turns between the
candidates instead and gives ratios; here each one's distribution can be looked at.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gankit.bench.cases import DIRECTIONS, LAYOUTS, Case
from gankit.bench.suite import OPS

SHAPES = (
    (1, 64, 256, 256),
    (1, 256, 64, 64),
    (4, 64, 128, 128),
    (8, 128, 32, 32),
    (16, 512, 4, 4),
    (1, 3, 7, 5),
    (1, 256, 4, 4),
    (1, 1, 4, 4),
)
LARGE = 1 << 20  # elements from which bandwidth rules, and 16-bit types are worth a row
CASES = [
    Case(op, shape, dtype, layout, direction)
    for op in OPS
    if op.name.startswith("instance_norm_act")
    for shape in SHAPES
    for dtype in ((torch.float32, torch.bfloat16) if torch.Size(shape).numel() >= LARGE else (torch.float32,))
    for layout in LAYOUTS
    for direction in (DIRECTIONS if op.penalty else DIRECTIONS[:2])
]


@pytest.mark.parametrize("candidate", ["ours", "eager", "compile", "copy", "clone"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_instance_norm_act(benchmark: Any, case: Case, candidate: str) -> None:
    if candidate == "compile" and case.direction == "penalty":
        pytest.skip("compiled functions have no second derivatives")
    call = case.candidates(torch.device("cpu"), compiled=candidate == "compile")[candidate]
    call()  # compiles, allocates
    benchmark.group = case.id
    benchmark.extra_info.update(shape=case.shape, layout=case.layout, bytes=case.bytes)
    benchmark(call)
