"""Drawing in batches, and what is checked of it."""

from __future__ import annotations

import pytest
import torch
from captioned import ROWS, make
from torch import nn

from gankit.sampling.draw import draw, evaluating


def test_drawing_clamps_batches_and_restores():
    variant = make()
    networks = variant.networks(ROWS.spec)
    networks["net"][1].eval()
    state = torch.get_rng_state()
    images = draw(variant, networks, ROWS.spec, {}, 130, seed=0, device=torch.device("cpu"))
    assert images.shape == (130, 3, 4, 4)
    assert (images == 1).all()
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in networks["net"].modules()] == [True, True, False]
    assert networks["net"][0].num_batches_tracked == 0
    assert draw(variant, networks, ROWS.spec, {}, 0, seed=0, device=torch.device("cpu")).shape == (0, 3, 4, 4)


def test_modes_come_back_after_an_error():
    net = nn.Dropout()
    with pytest.raises(ZeroDivisionError), evaluating({"net": net}):
        1 // net.training
    assert net.training
