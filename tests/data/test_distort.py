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


MOST = Distortion(shift=0.1, degrees=20, scale=0.1, noise=0.0)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_reduced_precision_moves_nothing_elsewhere() -> None:
    """Of a smooth pattern: places that were rounded to bfloat16 are off by pixels at this size."""
    row = torch.linspace(0, 50, 128)
    images = (row.sin()[:, None] * row.cos()).expand(4, 1, -1, -1)
    wanted = distort(images, MOST, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(distort(images, MOST, seeded()), wanted)
    half = distort(images.bfloat16(), MOST, seeded())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, wanted, rtol=0, atol=0.01)
    assert not torch.allclose(distort(images, MOST, torch.Generator().manual_seed(4)), wanted, atol=0.1)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 1, 1, 1), (2, 4, 5, 9)])
def test_gradients_reach_the_images(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, requires_grad=True)
    distort(images, MOST, seeded()).sum().backward()
    assert images.grad is not None
    assert images.grad.shape == shape
    assert images.grad.isfinite().all()
    assert (images.grad > 0).any() or not images.numel()
