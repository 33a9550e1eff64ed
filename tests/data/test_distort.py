from __future__ import annotations

import pytest
import torch

from gankit.data.distort import Distortion, distort


def test_distortion_is_small_centred_and_never_mirrors() -> None:
    image = torch.full((64, 1, 32, 32), -1.0)
    image[:, :, 8:24, 8:12] = 1  # an upright bar left of the middle
    moved = distort(image, Distortion(shift=0.08, degrees=10, scale=0.1, noise=0.05), torch.Generator().manual_seed(0))
    assert moved.shape == image.shape
    weight = (moved + 1).clamp_min(0.5).sub(0.5)
    centre = (weight.sum((1, 2)) * torch.arange(32)).sum(1) / weight.sum((1, 2, 3))
    assert centre.max() < 15.5
    assert centre.mean() == pytest.approx(9.5, abs=1)
    still = Distortion(shift=0, degrees=0, scale=0, noise=0)
    torch.testing.assert_close(distort(image, still, torch.Generator()), image)
    wide = image[..., :16]
    torch.testing.assert_close(distort(wide, still, torch.Generator()), wide)
