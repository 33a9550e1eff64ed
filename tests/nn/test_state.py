"""Values that steps change and checkpoints keep."""

from __future__ import annotations

import pytest
import torch

from gankit.nn import State


def test_values_are_buffers_that_change_in_place() -> None:
    start = torch.ones(2)
    state = State(p=torch.zeros(()), mean=start)
    held = state.mean
    state.update(p=0.25, mean=torch.tensor([3.0, 4.0]))
    assert state.p == 0.25
    assert held.tolist() == [3, 4]  # the same tensor
    assert start.tolist() == [1, 1]  # not the caller's
    state.update(mean=0.5)
    assert held.tolist() == [0.5, 0.5]
    assert set(state.state_dict()) == {"p", "mean"}
    assert not list(state.parameters())


def test_no_graph_is_kept() -> None:
    state = State(mean=torch.zeros(()))
    state.update(mean=0.9 * state.mean + 0.1 * torch.ones((), requires_grad=True))
    assert not state.mean.requires_grad
    assert state.mean == pytest.approx(0.1)


def test_what_does_not_fit_is_refused() -> None:
    state = State(p=torch.zeros(3), n=torch.zeros((), dtype=torch.int64))
    with pytest.raises(ValueError, match="has no 'q'; it has p, n"):
        state.update(q=1)
    with pytest.raises(ValueError, match=r"p is of shape \(3,\), not \(2,\)"):
        state.update(p=torch.zeros(2))
    state.update(n=5)
    assert (state.n.dtype, int(state.n)) == (torch.int64, 5)
    with pytest.raises(ValueError, match="'training' is taken"):
        State(training=torch.zeros(()))
    with pytest.raises(ValueError, match="p must be a tensor, not float"):
        State(p=1.0)
