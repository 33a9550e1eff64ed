"""The convolution against torch's own, in values and in gradients of every order."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gankit.nn import Conv2d
from gankit.ops import _torch, conv2d

CASES = {  # channels, outputs, kernel, stride, padding, groups
    "1x1": (3, 4, (1, 1), 1, 0, 1),
    "grouped": (4, 6, (3, 3), 1, 1, 2),
    "one channel a group": (3, 3, (3, 3), 1, 1, 3),
    "strided": (2, 3, (4, 4), 2, 1, 1),
    "odd": (2, 4, (1, 3), (2, 1), (0, 2), 2),
}


def made(case: str, dtype: torch.dtype = torch.float64, number: int = 2) -> tuple[Tensor, Tensor, dict]:
    inputs, outputs, kernel, stride, padding, groups = CASES[case]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(number, inputs, 5, 6, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(outputs, inputs // groups, *kernel, generator=generator, dtype=torch.float64).to(dtype)
    return x.requires_grad_(), weight.requires_grad_(), {"stride": stride, "padding": padding, "groups": groups}


def penalty(y: Tensor, x: Tensor) -> Tensor:
    """What a gradient penalty differentiates: it has slopes of slopes in x, and in the weight behind y."""
    (slope,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    return slope.square().sum()


@pytest.mark.parametrize("case", CASES)
def test_derivatives_by_finite_differences(case: str) -> None:
    x, weight, how = made(case)
    assert torch.autograd.gradcheck(lambda x, w: conv2d(x, w, **how), (x, weight))
    assert torch.autograd.gradgradcheck(lambda x, w: conv2d(x, w, **how), (x, weight))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_and_penalties_are_torchs(case: str, layout: torch.memory_format, dtype: torch.dtype) -> None:
    results = []
    for ours in (True, False):
        x, weight, how = made(case, dtype)
        x = x.detach().contiguous(memory_format=layout).requires_grad_()
        y = conv2d(x, weight, **how) if ours else F.conv2d(x, weight, **how)
        assert y.dtype is dtype
        results.append([y, *torch.autograd.grad(penalty(y, x) + y.square().sum(), (x, weight))])
    assert torch.equal(results[0][0], results[1][0])
    near = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=near, atol=near * float(other.detach().abs().max()))


def test_third_derivatives() -> None:
    third = []
    for function in (conv2d, F.conv2d):
        x, weight, how = made("grouped")
        second = torch.autograd.grad(penalty(function(x, weight, **how), x), weight, create_graph=True)[0]
        third.append(torch.autograd.grad(second.square().sum(), (x, weight)))
    for one, other in zip(*third, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("asked", ["x", "weight", "inputs"])
def test_gradients_that_nobody_asked_for_are_not_computed(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    from gankit.ops import conv2d as op  # the function; its module is found through it

    module = __import__("sys").modules[op.__module__]
    masks, real = [], module._gradients

    def watched(*arguments):  # type: ignore[no-untyped-def]
        masks.append(arguments[-2:])
        return real(*arguments)

    monkeypatch.setattr(module, "_gradients", watched)
    x, weight, how = made("grouped")
    y = conv2d(x, weight, **how).sum()
    if asked == "inputs":
        y.backward(inputs=[x])
        assert weight.grad is None
    else:
        torch.autograd.grad(y, x if asked == "x" else weight)
    assert masks == [(asked != "weight", asked == "weight")]


def test_without_torchs_private_name_all_that_could_be_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch, "_will_execute", None)
    x, weight, how = made("strided")
    ours = torch.autograd.grad(penalty(conv2d(x, weight, **how), x), (x, weight))
    plain = torch.autograd.grad(penalty(F.conv2d(x, weight, **how), x), (x, weight))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_autocast_casts_as_torchs_does() -> None:
    x, weight, how = made("grouped", torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours, plain = conv2d(x, weight, **how), F.conv2d(x, weight, **how)
        (dx,) = torch.autograd.grad(ours.float().square().sum(), x, create_graph=True)
    assert ours.dtype is plain.dtype is torch.bfloat16
    assert torch.equal(ours, plain)
    dx.square().sum().backward()
    assert x.grad is not None
    assert weight.grad is not None
    assert x.grad.dtype is weight.grad.dtype is torch.float32


def test_transforms_compilation_and_many_gradients_at_once() -> None:
    x, weight, how = made("grouped")
    jacobian = torch.func.jacrev(lambda w: conv2d(x.detach(), w, **how).sum((2, 3)))(weight.detach())
    assert jacobian.shape == (2, 6, *weight.shape)
    y = conv2d(x, weight, **how)
    many = torch.stack([torch.ones_like(y), torch.randn_like(y)])
    (batched,) = torch.autograd.grad(y, x, many, is_grads_batched=True, retain_graph=True)
    for one, g in zip(batched, many, strict=True):
        torch.testing.assert_close(one, torch.autograd.grad(y, x, g, retain_graph=True)[0])
    compiled = torch.compile(lambda x, w: conv2d(x, w, **how), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight), y)


def test_no_samples_and_no_gradients() -> None:
    x, weight, how = made("grouped", number=0)
    y = conv2d(x, weight, **how)
    assert y.shape == (0, 6, 5, 6)
    assert torch.autograd.grad(y.sum(), weight)[0].abs().sum() == 0
    with torch.no_grad():
        assert not conv2d(x, weight, **how).requires_grad
    with pytest.raises(RuntimeError, match="channels"):
        conv2d(torch.zeros(1, 3, 5, 5), weight.float(), **how)


def test_module_has_the_weights_and_the_start_of_torchs() -> None:
    torch.manual_seed(0)
    ours = Conv2d(4, 6, 3, 2, (1, 0), groups=2)
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 3, 2, (1, 0), groups=2, bias=False)
    assert list(ours.state_dict()) == ["weight"]
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 7, 8)
    assert torch.equal(ours(x), plain(x))
    assert isinstance(ours, nn.Conv2d)
