"""How the precision of a run is chosen."""

from __future__ import annotations

import pytest
import torch

from gankit.device import resolve_precision
from gankit.errors import UsageError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True, "avx2": True}, "bf16"), ({"avx512_f": True}, "float32")],
)
def test_auto_is_bf16_where_the_processor_computes_with_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", CPU) == chosen
    assert resolve_precision("float32", CPU) == "float32"
    assert resolve_precision("bf16", CPU) == "bf16"


def test_auto_is_float32_where_torch_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", CPU) == "float32"
    assert resolve_precision("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize(("capability", "chosen"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "float32")])
def test_auto_asks_a_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda")) == chosen
    assert resolve_precision("fp16", torch.device("cuda")) == "fp16"


def test_fp16_needs_cuda() -> None:
    with pytest.raises(UsageError, match="needs a CUDA device, not 'cpu'"):
        resolve_precision("fp16", CPU)
