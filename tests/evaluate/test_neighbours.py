"""Nearest training images, and the figure for memorising."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from gankit.evaluate.neighbours import loneliness, memorised, nearest, neighbour_sheet


def images(n: int, seed: int = 0, size: int = 16) -> torch.Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_finds_the_image_itself_and_its_mirror_image() -> None:
    train = images(300)
    found = nearest(torch.cat([train[[7, 200]], train[[42]].flip(-1)]), train, 3)
    assert found.index[:, 0].tolist() == [7, 200, 42]
    assert found.distance[:, 0].tolist() == [0, 0, 0]
    assert (found.distance.diff(dim=1) >= 0).all()


def test_distances_are_exact() -> None:
    train, sample = images(50), images(5, 1)
    found = nearest(sample, train, 50)
    direct = (sample[:, None] - train[None]).square().mean((2, 3, 4)).sqrt()
    mirrored = (sample.flip(-1)[:, None] - train[None]).square().mean((2, 3, 4)).sqrt()
    torch.testing.assert_close(found.distance, torch.minimum(direct, mirrored).sort(1).values)


@pytest.mark.parametrize(("n", "train", "k"), [(0, 5, 3), (3, 1, 4), (3, 0, 2)])
def test_small_and_empty_sets(n: int, train: int, k: int) -> None:
    found = nearest(images(n), images(train), k)
    assert found.index.shape == found.distance.shape == (n, min(k, train))


def test_skips_itself() -> None:
    train = images(150)
    found = nearest(train, train, 2, skip_self=True)
    assert not (found.index == torch.arange(150)[:, None]).any()


def test_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        nearest(images(1), images(1, size=8), 1)


def test_memorised_tells_copies_from_new_images() -> None:
    train, held_out = images(200), images(100, 1)
    copies = (train[torch.arange(60) % 20] + 0.05 * torch.randn(60, 1, 16, 16)).clamp(-1, 1)
    assert memorised(copies, train, held_out) == 1
    assert memorised(copies, train) == 1
    fresh = memorised(images(300, 2), train, held_out)
    assert fresh is not None
    assert fresh < 0.06
    half = torch.cat([copies[:50], images(50, 3)])
    assert memorised(half, train, held_out) == pytest.approx(0.5, abs=0.06)


def test_plain_images_are_no_copies() -> None:
    assert memorised(torch.zeros(10, 1, 16, 16), images(200), images(100, 1)) == 0


def test_memorised_without_enough_images() -> None:
    assert memorised(images(4), images(2)) is None
    assert memorised(images(0), images(20)) is None


def test_loneliness_of_a_copy_is_zero_even_if_all_are_copies() -> None:
    train = torch.zeros(5, 1, 16, 16)
    assert loneliness(nearest(train, train, 3)).tolist() == [0] * 5


def test_sheet_has_a_row_a_sample(tmp_path: Path) -> None:
    from gankit.data.image_files import write_png

    train, samples = images(30), images(4, 1)
    found = nearest(samples, train, 3)
    page = neighbour_sheet(samples, [train[index] for index in found.index])
    write_png(tmp_path / "neighbours.png", page)
    with Image.open(tmp_path / "neighbours.png") as picture:
        width, height = picture.size
    assert (height, width) == tuple(page.shape[:2])
    assert width > height * 3 / 4
