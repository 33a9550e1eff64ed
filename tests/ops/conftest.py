"""The ops' tests run on the CPU and, where there is one, on a GPU: the same cases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for norm_cases.py

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where torch makes tensors during a test: `pytestmark = pytest.mark.usefixtures("device")`."""
    if request.param == "cpu":  # as it is anyway: no function mode in the way of what is tested
        yield "cpu"
        return
    torch.set_default_device(request.param)
    try:
        yield request.param
    finally:
        torch.set_default_device(None)
