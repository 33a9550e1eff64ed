"""The PatchGAN losses on the cases of `gankit bench ops`: `pytest benchmarks/bench_patchgan_loss.py`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gankit.bench import Case, op_cases

CASES = op_cases(["patchgan_d_loss", "patchgan_g_loss"])


@pytest.mark.parametrize("candidate", ["ours", "eager", "copy"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_patchgan_loss(benchmark: Any, case: Case, candidate: str) -> None:
    benchmark.group = case.id
    benchmark.extra_info["bytes"] = case.bytes
    benchmark(case.candidates(torch.device("cpu"), compiled=False)[candidate])
