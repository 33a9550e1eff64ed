from __future__ import annotations

import math

import pytest
import torch
from gankit_plugin_infogan.views import shared_information, view


def test_sure_and_equal_classes_share_all_there_is() -> None:
    classes = torch.eye(4)[torch.arange(40) % 4]
    assert float(shared_information(classes, classes)) == pytest.approx(math.log(4), abs=1e-4)
    half = torch.cat([classes[:20], torch.eye(4)[(torch.arange(20) + 1) % 4]])  # of these the views disagree
    assert 0 < float(shared_information(half, classes)) < math.log(4) - 0.3


def test_what_says_nothing_shares_nothing() -> None:
    even = torch.full((40, 4), 0.25)
    classes = torch.eye(4)[torch.arange(40) % 4]
    for one, other in ((even, even), (even, classes), (classes[:1].expand(40, -1),) * 2):
        assert float(shared_information(one, other)) == pytest.approx(0, abs=1e-4)


def test_a_view_is_the_image_moved_a_little() -> None:
    images = -torch.ones(64, 1, 32, 32)
    images[:, :, 12:20, 12:20] = 1
    seen = view(images, torch.Generator().manual_seed(0))
    assert seen.shape == images.shape
    assert seen.min() >= -1
    assert seen.max() <= 1
    assert not torch.equal(seen[0], seen[1])
    light = (seen + 1).sum((1, 2, 3)) / (images + 1).sum((1, 2, 3))
    assert 0.3 < float(light.min()) < float(light.max()) < 3
    assert float(seen[:, :, :4].max()) == pytest.approx(-1, abs=1e-5)  # it stays about where it was
