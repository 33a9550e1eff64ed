from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from gankit.nn import ConcatConv2d, ConcatSequential


def concatenated(layer: ConcatConv2d, x: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    planes = vector[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return F.conv2d(torch.cat([x, planes], 1), layer.weight, layer.bias, padding=layer.padding)


@pytest.mark.parametrize(
    ("height", "width", "kernel", "padding"),
    [
        *((*size, *kind) for size in ((4, 4), (1, 1), (2, 5), (9, 3)) for kind in ((3, 1), (1, 0), (7, 3), (3, 2))),
        *((*size, *kind) for size in ((4, 4), (9, 3)) for kind in ((3, 0), (4, 1))),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_is_a_convolution_of_the_concatenation(height: int, width: int, kernel: int, padding: int, bias: bool) -> None:
    layer = ConcatConv2d(3, 5, 4, kernel, padding, bias).double()
    x, vector = torch.randn(2, 3, height, width).double(), torch.randn(2, 5).double()
    torch.testing.assert_close(layer(x, vector), concatenated(layer, x, vector))
    torch.testing.assert_close(layer.joined(layer.of_map(x), vector), layer(x, vector))


def test_derivatives() -> None:
    layer = ConcatConv2d(2, 3, 2).double()
    x = torch.randn(2, 2, 3, 2).double().requires_grad_()
    vector = torch.randn(2, 3).double().requires_grad_()
    assert gradcheck(layer, (x, vector))
    assert gradgradcheck(layer, (x, vector))
    ours = torch.autograd.grad(layer(x, vector).square().sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(concatenated(layer, x, vector).square().sum(), list(layer.parameters()))
    torch.testing.assert_close(ours, theirs)


def test_an_empty_batch_other_layouts_and_half_precision() -> None:
    layer = ConcatConv2d(3, 5, 4)
    assert layer(torch.zeros(0, 3, 6, 6), torch.zeros(0, 5)).shape == (0, 4, 6, 6)
    x, vector = torch.randn(2, 3, 6, 6), torch.randn(2, 5)
    wanted = layer(x, vector)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last), vector), wanted)
    torch.testing.assert_close(layer(x.transpose(2, 3).contiguous().transpose(2, 3), vector), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x, vector)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wanted, rtol=0.05, atol=0.05)
    whole = layer.bfloat16()(x.bfloat16(), vector.bfloat16())
    torch.testing.assert_close(whole.float(), wanted, rtol=0.05, atol=0.05)


def test_its_weights_are_those_of_a_convolution() -> None:
    layer, plain = ConcatConv2d(3, 5, 4), torch.nn.Conv2d(8, 4, 3, 1, 1)
    plain.load_state_dict(layer.state_dict())
    assert plain.weight.shape == layer.weight.shape


def test_layers_after_it_see_the_map_once_for_several_vectors() -> None:
    layers = ConcatSequential(ConcatConv2d(3, 5, 4), torch.nn.Tanh(), torch.nn.Conv2d(4, 2, 1))
    x, of_map = (x := torch.randn(2, 3, 6, 6)), layers.of_map(x)
    for vector in torch.randn(2, 2, 5):
        wanted = layers[2](layers[1](concatenated(layers[0], x, vector)))
        torch.testing.assert_close(layers(x, vector), wanted)
        torch.testing.assert_close(layers.of_both(of_map, vector), wanted)


def test_another_length_is_named() -> None:
    layer = ConcatConv2d(3, 5, 4)
    assert "3 + 5, 4" in repr(layer)
    for vector in (torch.zeros(2, 4), torch.zeros(2, 5, 1)):
        with pytest.raises(ValueError, match=r"the vector is \(2, .*\), not \(N, 5\)"):
            layer(torch.zeros(2, 3, 6, 6), vector)
