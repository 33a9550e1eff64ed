"""Gradients that would be wrong: a graph used twice, or outdated, is named."""

from __future__ import annotations

import pytest
import torch
from phase_toys import SGD, Toy, loss
from torch import nn

from gankit.errors import PluginError
from gankit.plugin import Phase


def drawn(step):
    return step.shared("fake", lambda: step.networks["a"](torch.ones(2, 3)))


def test_a_graph_used_twice_names_phase_and_key():
    toy = Toy(
        Phase(name="first", updates=("a",), loss=lambda step: {"x": drawn(step).square().sum()}, optim=SGD),
        Phase(name="second", updates=("a",), loss=lambda step: {"x": drawn(step).square().sum()}, optim=SGD),
    )
    with pytest.raises(PluginError) as caught:
        toy.run()
    text = str(caught.value)
    assert "phase 'second'" in text
    assert "shared 'fake', whose graph phase 'first' has used up in this step: detach it" in text


def test_a_graph_of_ones_own_used_twice_is_explained():
    kept = []

    def twice(step):
        kept[:] = kept or [step.networks["a"](torch.ones(2, 3)).square().sum()]
        return {"x": kept[0]}

    toy = Toy(Phase(name="p", updates=("a",), loss=twice, optim=SGD))
    toy.run()
    with pytest.raises(PluginError, match="phase 'p': it backpropagates through a graph that is used up"):
        toy.run()


def test_a_network_that_is_updated_between_a_draw_and_its_use_is_named():
    """Fused optimisers change weights without autograd's notice: without more, this gave wrong gradients silently."""
    networks = {"a": nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), "b": nn.Linear(3, 3)}

    def use(step):
        return {"x": step.networks["b"](drawn(step)).sum()}

    toy = Toy(
        Phase(name="draws", updates=("b",), loss=lambda step: {"x": step.networks["b"](drawn(step).detach()).sum()}),
        Phase(name="moves", updates=("a",), loss=loss("a")),
        Phase(name="uses", updates=("a",), loss=use),
        networks=networks,
    )
    with pytest.raises(PluginError) as caught:
        toy.run()
    assert "phase 'uses': it backpropagates through shared 'fake'" in str(caught.value)
    assert "drawn from network 'a' before phase 'moves' updated that network" in str(caught.value)


def test_something_else_that_was_changed_in_place_is_not_called_shared():
    def spoiled(step):
        x = step.networks["a"](torch.ones(2, 3)).exp()
        y = x.sum()
        x.add_(1)
        return {"x": y * x.sum()}

    with pytest.raises(PluginError, match="phase 'p': a tensor that its gradients need was changed in place"):
        Toy(Phase(name="p", updates=("a",), loss=spoiled)).run()


def test_buffers_that_change_between_two_uses_are_no_fault():
    """Batch norm's running statistics change with every forward pass, and no gradient needs them."""
    networks = {"a": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), "b": nn.BatchNorm1d(3)}

    def d(step):
        fake = drawn(step).detach()
        return {"x": step.networks["b"](fake).square().sum() + step.networks["b"](fake + 1).square().sum()}

    toy = Toy(
        Phase(name="d", updates=("b",), loss=d),
        Phase(name="g", updates=("a",), loss=lambda step: {"x": step.networks["b"](drawn(step)).square().sum()}),
        networks=networks,
    )
    toy.run(3)
    assert all(p.isfinite().all() for p in networks["a"].parameters())
