from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from gankit.nn import UpsampleConv2d

MODES = ["zeros", "replicate"]


def apart(layer: UpsampleConv2d) -> nn.Sequential:
    """The two layers that it stands for, with its weights."""
    conv = nn.Conv2d(
        layer.in_channels, layer.out_channels, 3, 1, 1, bias=layer.bias is not None, padding_mode=layer.padding_mode
    )
    conv.load_state_dict(layer.state_dict())
    return nn.Sequential(nn.Upsample(scale_factor=2), conv.to(layer.weight.dtype))


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 1), (3, 2), (8, 8), (7, 13)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bias", [True, False])
def test_is_a_doubling_and_a_convolution(size: tuple[int, int], mode: str, bias: bool) -> None:
    layer = UpsampleConv2d(3, 4, bias, mode).double()  # type: ignore[arg-type]
    x = torch.randn(2, 3, *size).double()
    torch.testing.assert_close(layer(x), apart(layer)(x))


@pytest.mark.parametrize("mode", MODES)
def test_derivatives(mode: str) -> None:
    layer = UpsampleConv2d(2, 3, padding_mode=mode).double()  # type: ignore[arg-type]
    x = torch.randn(2, 2, 3, 2).double().requires_grad_()
    learned = dict(layer.named_parameters())

    def of(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, dict(zip(learned, values, strict=True)), (x,))

    assert gradcheck(of, (x, *learned.values()))
    assert gradgradcheck(of, (x, *learned.values()))
    plain = apart(layer)
    ours = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    theirs = torch.autograd.grad(plain(x).square().sum(), [x, *plain.parameters()])
    torch.testing.assert_close(ours, theirs)


def test_an_empty_batch_other_layouts_and_half_precision() -> None:
    layer = UpsampleConv2d(3, 4)
    assert layer(torch.zeros(0, 3, 6, 6)).shape == (0, 4, 12, 12)
    x = torch.randn(2, 3, 6, 5)
    wanted, exact = layer(x), layer.transposed_weight()
    last = layer(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, wanted)
    torch.testing.assert_close(layer(x.transpose(2, 3).contiguous().transpose(2, 3)), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
        assert torch.equal(layer.transposed_weight(), exact)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wanted, rtol=0.05, atol=0.05)
    whole = layer.bfloat16()(x.bfloat16())
    torch.testing.assert_close(whole.float(), wanted, rtol=0.05, atol=0.05)


def test_the_weights_of_a_half_precision_layer_are_added_up_exactly() -> None:
    layer = UpsampleConv2d(1, 1, bias=False).bfloat16()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[256.0, 1, 1], [1, 1, 1], [1, 1, -256.0]]))
        middle = layer.transposed_weight()[0, 0, 1:3, 1:3].float()
    assert middle.tolist() == [[-253.0, 4.0], [4.0, 260.0]]  # 259, rounded once


@pytest.mark.parametrize("mode", MODES)
def test_weights_in_channels_last_give_maps_in_it(mode: str) -> None:
    layer = UpsampleConv2d(3, 4, padding_mode=mode).to(memory_format=torch.channels_last)  # type: ignore[call-overload, arg-type]
    x = torch.randn(2, 12).view(2, 3, 2, 2)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x), apart(layer)(x))


def test_says_the_shape_without_data() -> None:
    assert UpsampleConv2d(3, 4).to("meta")(torch.empty(2, 3, 5, 6, device="meta")).shape == (2, 4, 10, 12)


def test_other_edges_are_refused() -> None:
    with pytest.raises(ValueError, match="padding_mode must be zeros or replicate, got 'reflect'"):
        UpsampleConv2d(3, 4, padding_mode="reflect")  # type: ignore[arg-type]


def test_compiles_to_the_same() -> None:
    layer = UpsampleConv2d(2, 3, padding_mode="replicate")
    x = torch.randn(2, 2, 4, 4)
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager")(x), layer(x))
