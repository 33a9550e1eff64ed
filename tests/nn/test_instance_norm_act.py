"""InstanceNormAct2d: the module that stands in for nn.InstanceNorm2d and what follows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gankit.nn.instance_norm_act import InstanceNormAct2d


@pytest.mark.parametrize("affine", [False, True])
def test_state_dict_interchanges_with_torchs(affine):
    theirs, ours = nn.InstanceNorm2d(5, affine=affine), InstanceNormAct2d(5, affine=affine)
    if affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 6, 7)
    torch.testing.assert_close(ours(x), theirs(x))
    again = nn.InstanceNorm2d(5, affine=affine)
    again.load_state_dict(ours.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_running_statistics_are_refused_by_name_or_left_out():
    state = nn.Sequential(nn.InstanceNorm2d(5, affine=True, track_running_stats=True)).state_dict()
    ours = nn.Sequential(InstanceNormAct2d(5, affine=True))
    with (
        pytest.warns(UserWarning, match=r"0\.\* \(running_mean, running_var, num_batches_tracked\).*strict=False"),
        pytest.raises(RuntimeError, match=r"Unexpected key.*0\.running_mean"),
    ):
        ours.load_state_dict(state)
    state["0.weight"].fill_(3)
    with pytest.warns(UserWarning, match="running statistics"):
        result = ours.load_state_dict(state, strict=False)
    assert result.unexpected_keys == ["0.running_mean", "0.running_var", "0.num_batches_tracked"]
    assert torch.equal(ours[0].weight, torch.full((5,), 3.0))


def test_affine_state_does_not_fit_a_plain_module():
    with pytest.raises(RuntimeError, match=r"Unexpected key.*weight"):
        InstanceNormAct2d(5).load_state_dict(nn.InstanceNorm2d(5, affine=True).state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*weight"):
        InstanceNormAct2d(5, affine=True).load_state_dict(nn.InstanceNorm2d(5).state_dict())


def test_activation_and_residual():
    x, residual = torch.randn(2, 5, 6, 7), torch.randn(2, 5, 6, 7)
    module = InstanceNormAct2d(5, negative_slope=0.2)
    expected = nn.functional.leaky_relu(nn.functional.instance_norm(x), 0.2) + residual
    torch.testing.assert_close(module(x, residual), expected)
    torch.testing.assert_close(module(x[0], residual[0]), expected[0])  # without a batch


def test_refusals():
    module = InstanceNormAct2d(5)
    with pytest.raises(ValueError, match="x must have 5 channels, got 4"):
        module(torch.randn(2, 4, 6, 7))
    with pytest.raises(ValueError, match=r"4 dimensions.*got 2"):
        module(torch.randn(5, 6))
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        module(torch.randn(2, 5, 1, 1))


def test_says_what_it_is():
    module = InstanceNormAct2d(5, affine=True, negative_slope=0.2, dtype=torch.float64)
    assert repr(module) == "InstanceNormAct2d(5, eps=1e-05, affine=True, negative_slope=0.2)"
    assert module.weight.dtype == torch.float64
    assert torch.equal(module.weight, torch.ones(5, dtype=torch.float64))
    assert torch.equal(module.bias, torch.zeros(5, dtype=torch.float64))
