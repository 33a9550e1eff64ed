"""Placing against torch's own sampler, and the networks against the authors' counts and layer lists."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
from gankit_plugin_gawwn.blocks import EDGES, Doubling, Residual, conv, doublings, upwards
from gankit_plugin_gawwn.boxes import BoxDiscriminator, BoxGenerator
from gankit_plugin_gawwn.placing import cropped, cut, drawn_points, moved, placed, spread
from gankit_plugin_gawwn.points import PointsDiscriminator, PointsGenerator
from gankit_plugin_gawwn.seen import drawn_box, overlap
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.nn.init import init_he

BOXES = torch.tensor([[0.1, 0.2, 0.6, 0.9], [0.0, 0.0, 1.0, 1.0], [0.31, 0.3, 0.37, 0.81], [0.5, 0.0, 1.0, 0.25]])


def sampled(maps: Tensor, boxes: Tensor, into: bool) -> Tensor:
    """By torch's affine_grid and grid_sample, as a spatial transformer has it."""
    left, top, right, bottom = boxes.unbind(1)
    wide, high, x, y, none = right - left, bottom - top, left + right - 1, top + bottom - 1, torch.zeros(len(boxes))
    if into:
        wide, high, x, y = 1 / wide, 1 / high, -x / wide, -y / high
    theta = torch.stack([torch.stack([wide, none, x], 1), torch.stack([none, high, y], 1)], 1)
    return F.grid_sample(maps, F.affine_grid(theta, list(maps.shape), align_corners=False), align_corners=False)


def test_maps_are_placed_and_cut_as_spatial_transformers_do() -> None:
    maps = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(placed(maps, BOXES), sampled(maps, BOXES, into=True), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(cut(maps, BOXES), sampled(maps, BOXES, into=False), atol=1e-4, rtol=1e-4)
    values = torch.randn(4, 5)
    everywhere = values[:, :, None, None].expand(-1, -1, 16, 16).contiguous()
    torch.testing.assert_close(spread(values, BOXES, 16), sampled(everywhere, BOXES, into=True), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(placed(maps, torch.tensor([[0.0, 0, 1, 1]]).expand(4, -1)), maps)


def test_placing_has_derivatives_of_every_order() -> None:
    maps = torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    for move in (placed, cut):
        assert torch.autograd.gradcheck(lambda x, move=move: move(x, BOXES[:2]).square(), (maps,))
        assert torch.autograd.gradgradcheck(lambda x, move=move: move(x, BOXES[:2]).square(), (maps,))


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
def test_a_box_without_a_side_gives_numbers(box: list[float]) -> None:
    maps = torch.randn(1, 2, 16, 16)
    for values in (
        placed(maps, torch.tensor([box])),
        cut(maps, torch.tensor([box])),
        cropped(maps, torch.tensor([box]), 8),
        spread(maps[:, :, 0, 0], torch.tensor([box]), 16),
    ):
        assert values.isfinite().all()


def shrunk(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """By Pillow, whose filters are antialiased."""
    pixels = (boxes * images.shape[-1]).clamp(0, images.shape[-1]).tolist()
    rows = [
        [np.array(Image.fromarray(p).resize((side, side), Image.Resampling.BILINEAR, box=tuple(box))) for p in planes]
        for planes, box in zip(images.numpy(), pixels, strict=True)
    ]
    return torch.from_numpy(np.array(rows))


@pytest.mark.parametrize(("size", "side"), [(256, 32), (64, 32), (45, 32), (33, 7), (16, 32), (300, 1)])
def test_crops_are_those_of_pillow(size: int, side: int) -> None:
    images = torch.randn(4, 2, size, size)
    torch.testing.assert_close(cropped(images, BOXES, side), shrunk(images, BOXES, side), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("size", "side"), [(64, 32), (45, 9), (33, 33)])
def test_a_crop_of_whole_pixels_at_their_size_is_exact(size: int, side: int, dtype: torch.dtype) -> None:
    """Anywhere, also in the corners."""
    images = torch.randn(3, 2, size, size).to(dtype)
    far = size - side
    corners = [(0, 0), (far, far), (far // 2, far)]
    boxes = torch.tensor([[x, y, x + side, y + side] for x, y in corners]) / size
    want = torch.stack([one[:, y : y + side, x : x + side] for one, (x, y) in zip(images, corners, strict=True)])
    torch.testing.assert_close(cropped(images, boxes, side), want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [256, 100, 31])
def test_every_pixel_of_a_crop_gets_its_gradient(size: int, dtype: torch.dtype) -> None:
    """And a plain image stays as it is, up to its borders."""
    boxes = torch.cat([BOXES, torch.tensor([[0.97, 0.0, 1.0, 0.03], [0.5, 0.5, 0.501, 0.501]])])
    images = torch.full((6, 1, size, size), 0.75, dtype=dtype, requires_grad=True)
    found = cropped(images, boxes, 32)
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.full_like(found, 0.75), atol=1e-6, rtol=0)
    found.float().sum().backward()
    assert images.grad is not None
    for grad, box in zip(images.grad[:, 0].float(), boxes * size, strict=True):
        left, top, right, bottom = box.tolist()
        inside = grad[ceil(top) : int(bottom), ceil(left) : int(right)]
        assert (inside > 0).all()
        assert grad.sum() == pytest.approx(32 * 32, rel=1e-2)  # nothing is lost


def test_gradients_of_crops_are_right() -> None:
    images = torch.randn(4, 1, 11, 11, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: cropped(x, BOXES, 3).square(), (images,))


def test_points_are_maps() -> None:
    points = torch.tensor([[[0.0, 0.0, 1.0], [0.999, 0.5, 1.0], [1.0, 1.0, 1.0], [0.5, 0.5, 0.0]]])
    maps = drawn_points(points, 16)
    assert maps.sum((2, 3)).tolist() == [[1, 1, 1, 0]]
    assert [tuple(maps[0, k].nonzero()[0].tolist()) for k in range(3)] == [(0, 0), (8, 15), (15, 15)]
    assert torch.equal(drawn_points(points[..., :2], 16)[:, :3], maps[:, :3])


def test_points_that_are_not_seen_move_nothing() -> None:
    points = torch.tensor([[[0.5, 0.5, 1.0], [0.6, 0.7, 1.0], [0.0, 0.0, 0.0]]])
    found = moved(points, torch.tensor([[0.25, 0.25]]))
    torch.testing.assert_close(found[0, :2], torch.tensor([[0.25, 0.25, 1.0], [0.75, 0.75, 1.0]]))
    assert found[0, 2, 2] == 0
    torch.testing.assert_close(moved(BOXES[:1], torch.tensor([[0.1, 0.2]])), torch.tensor([[0.1, 0.2, 0.6, 0.7]]))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_counts_are_those_of_the_authors_code() -> None:
    """128 channels, texts of 1,024 numbers, noise of 100, 15 points, 128x128."""
    with torch.device("meta"):
        assert count(BoxGenerator(text=1024, z=100, width=128, last=32, count=3)) == 73_545_699
        assert count(BoxDiscriminator(text=1024, width=128, told=128, count=3)) == 16_763_137
        assert count(PointsGenerator(text=1024, z=100, width=128, count=3, points=15)) == 26_471_043
        assert count(PointsDiscriminator(text=1024, width=128, told=128, count=3, points=15)) == 14_667_905


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("place", ["box", "points"])
@pytest.mark.parametrize(("doubling", "norm"), [("deconv", True), ("resize", False)])
def test_every_size_is_drawn_and_judged(size: int, place: str, doubling: Doubling, norm: bool) -> None:
    number = doublings(size, size)
    where = BOXES[:2] if place == "box" else torch.rand(2, 4, 2)
    shared = {"text": 6, "width": 4, "count": number, "channels": 1}
    if place == "box":
        generator = BoxGenerator(z=5, last=3, doubling=doubling, **shared)
        judge: torch.nn.Module = BoxDiscriminator(told=3, norm=norm, **shared)
    else:
        generator = PointsGenerator(z=5, points=4, doubling=doubling, **shared)
        judge = PointsDiscriminator(told=3, points=4, norm=norm, **shared)
    images = generator(torch.randn(2, 6), torch.randn(2, 5), where)
    assert images.shape == (2, 1, size, size)
    assert images.abs().max() <= 1
    logits = judge(judge.features(images), torch.randn(2, 6), where)
    assert logits.shape == (2,)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("place", ["box", "points"])
def test_without_a_norm_places_are_seen_beside_texts(place: str) -> None:
    """Of the first logits: a twentieth or more of what another text changes is changed by another place."""
    shared = {"text": 32, "width": 24, "told": 32, "count": 2, "norm": False}
    where = [BOXES[:2].repeat(16, 1), BOXES[1:3].repeat(16, 1)] if place == "box" else list(torch.rand(2, 32, 4, 2))
    judge = init_he(BoxDiscriminator(**shared) if place == "box" else PointsDiscriminator(points=4, **shared))
    features, texts = judge.features(torch.randn(32, 3, 64, 64)), torch.randn(2, 32, 32)
    logits = judge(features, texts[0], where[0])
    of_place, of_text = judge(features, texts[0], where[1]) - logits, judge(features, texts[1], where[0]) - logits
    assert of_place.abs().mean() > 0.05 * of_text.abs().mean()


@pytest.mark.parametrize(("height", "width"), [(48, 48), (16, 16), (64, 32)])
def test_other_sizes_are_refused(height: int, width: int) -> None:
    with pytest.raises(UsageError, match=f"{width}x{height}"):
        doublings(height, width)


def test_the_local_path_reaches_no_further_than_the_box() -> None:
    """Of two noises that only the local path hears, what is drawn differs in the box and just around it."""
    torch.manual_seed(0)
    generator = BoxGenerator(text=6, z=5, width=8, last=4, count=2).eval()
    text, box = torch.randn(1, 6), torch.tensor([[0.0, 0.0, 0.25, 0.25]])
    maps = [torch.relu(placed(torch.randn(1, 16, 16, 16), box)) for _ in range(2)]
    around = torch.randn(1, 16, 16, 16)
    first, second = (generator.image(generator.joint(torch.cat([around, one], 1))) for one in maps)
    changed = (first - second).abs().amax(1)[0] > 1e-6
    assert changed[:16, :16].any()
    assert not changed[32:].any()
    assert not changed[:, 32:].any()
    assert generator(text, torch.randn(1, 5), box).shape == (1, 3, 64, 64)


def test_what_is_drawn_is_found() -> None:
    images = torch.full((4, 3, 40, 40), 0.5)
    images[0, 1, 10:30, 4:20] = -0.5
    images[1, :, 0:8, 0:40] = -1  # to three of the rims
    images[2, 0, 20, 20] = 0.55  # nothing that counts
    images[3, :, 5:35, 5:35] = 0.0
    images[3, :, 1, 38] = -1  # a speck
    found = drawn_box(images)
    torch.testing.assert_close(found[0], torch.tensor([4, 10, 20, 30]) / 40)
    torch.testing.assert_close(found[1], torch.tensor([0, 0, 40, 8]) / 40)
    assert found[2].eq(0).all()
    torch.testing.assert_close(found[3], torch.tensor([5, 5, 35, 35]) / 40)
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.0, 0, 0.5, 0.5], [0.0, 0, 0, 0]])
    others = torch.tensor([[0.5, 0.5, 1, 1], [0.5, 0.5, 1, 1], [0.0, 0, 1, 1]])
    torch.testing.assert_close(overlap(boxes, others), torch.tensor([0.25, 0, 0]))


@pytest.mark.parametrize(("doubling", "flat"), [("resize", True), ("deconv", False)])
def test_what_is_the_same_everywhere_stays_so(doubling: Doubling, flat: bool) -> None:
    """A ground of one colour, without a frame where maps end."""
    edges = EDGES[doubling]
    layers = nn.Sequential(*conv(6, 8, edges=edges), Residual(8, 2, edges), upwards([8, 4], 3, doubling)).eval()
    images = layers(torch.randn(2, 6, 1, 1).expand(-1, -1, 16, 16))
    spread = (images - images[:, :, :1, :1]).abs().max()
    assert (spread < 1e-6) == flat
