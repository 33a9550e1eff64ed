"""What a step gets: kinds converted, and everything of one image moved by the same draw."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gankit.data.feed import Feed
from gankit.data.images import to_float
from gankit.data.kinds import kind_of
from gankit.data.loader import Loader
from gankit.errors import PluginError, UsageError
from gankit.options.run import Augment
from gankit.plugin import Config, Dataset, DataSpec, Key

IMAGE = Key(kind="image", shape=(3, 8, 8))
FACES = {
    "image": IMAGE,
    "large": Key(kind="image", shape=(3, 16, 16), of="image"),
    "mask": Key(kind="mask", shape=(1, 8, 8)),
    "box": Key(kind="box", shape=(2, 4)),
    "eyes": Key(kind="points", shape=(2, 3), mirror=(1, 0)),
    "label": Key(kind="class", names=("a", "b")),
    "text": Key(kind="text", shape=(5,)),
    "vector": Key(kind="vector", shape=(2,)),
}


class Made(Dataset[Any]):
    """Twenty made-up samples of any keys; the pictures of one group show the same."""

    def __init__(self, keys: dict[str, Key]) -> None:
        super().__init__(Config())
        self.keys = keys
        generator = torch.Generator().manual_seed(0)
        self.rows = {name: kind_of(key).made_up(key, 20, generator) for name, key in keys.items()}
        if "large" in keys:
            self.rows["large"] = self.rows["image"].repeat_interleave(2, 2).repeat_interleave(2, 3)

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys=self.keys)

    def __len__(self) -> int:
        return 20

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {name: rows[indices] for name, rows in self.rows.items()}


def make_feed(
    keys: dict[str, Key], layout: torch.memory_format = torch.contiguous_format, seed: int = 0, **augment: Any
) -> Feed:
    dataset, generator = Made(keys), torch.Generator().manual_seed(seed)
    return Feed(Loader(dataset, 20), dataset.spec, Augment(**augment), generator, torch.device("cpu"), layout)


def unmoved(feed: Feed) -> dict[str, Tensor]:
    """The first batch as the dataset has it."""
    return Loader(feed.loader.dataset, 20).next()


def test_every_kind_becomes_what_a_step_gets_and_nothing_is_drawn() -> None:
    feed = make_feed(FACES)
    state = feed.generator.get_state()
    rows, batch = unmoved(feed), feed()
    assert torch.equal(feed.generator.get_state(), state)
    assert batch.keys() == FACES.keys()
    assert torch.equal(batch["image"], to_float(rows["image"]))
    assert torch.equal(batch["mask"], rows["mask"] / 255)
    for name in ("box", "eyes", "label", "text", "vector"):
        assert torch.equal(batch[name], rows[name])
        assert batch[name].dtype == rows[name].dtype
    assert all(
        torch.equal(feed.loader.dataset.batch(torch.arange(20))[name], feed.loader.dataset.rows[name]) for name in FACES
    )


def test_images_alone_are_flipped_by_the_first_numbers_of_the_run() -> None:
    feed = make_feed({"image": IMAGE, "label": FACES["label"]}, seed=3, flip=True)
    flip = torch.rand(20, generator=torch.Generator().manual_seed(3)) < 0.5
    rows, batch = unmoved(feed), feed()
    expected = torch.where(flip[:, None, None, None], rows["image"].flip(3), rows["image"])
    assert torch.equal(batch["image"], to_float(expected))
    assert torch.equal(batch["label"], rows["label"])


@pytest.mark.parametrize("crop", [0.0, 0.25])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_is_of_an_image_moves_with_it(crop: float, layout: torch.memory_format) -> None:
    feed = make_feed(FACES, layout, flip=True, crop=crop)
    rows, batch = unmoved(feed), feed()
    assert not torch.equal(batch["image"], to_float(rows["image"]))
    flip = torch.rand(20, generator=torch.Generator().manual_seed(0)) < 0.5
    if not crop:
        mirrored = rows["box"][..., [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([1, 0, 1, 0])
        torch.testing.assert_close(batch["box"], torch.where(flip[:, None, None], mirrored, rows["box"]))
        eyes = rows["eyes"].flip(1) * torch.tensor([-1, 1, 1]) + torch.tensor([1, 0, 0])
        torch.testing.assert_close(batch["eyes"], torch.where(flip[:, None, None], eyes, rows["eyes"]))
        assert torch.equal(batch["large"][:, :, ::2, ::2], batch["image"])
    # two pixels of reflected border at most: the middle of both pictures shows the same
    assert torch.equal(batch["large"][:, :, 4:12:2, 4:12:2], batch["image"][:, :, 2:6, 2:6])
    for name in ("label", "text", "vector"):
        assert torch.equal(batch[name], rows[name])
    for name in ("image", "large", "mask"):
        assert batch[name].is_contiguous(memory_format=layout)
    assert torch.equal(make_feed(FACES, flip=True, crop=crop)()["box"], batch["box"])


def test_images_that_have_nothing_to_do_with_each_other_move_apart() -> None:
    feed = make_feed({"a": IMAGE, "b": IMAGE, "mask": Key(kind="mask", shape=(1, 8, 8), of="b")}, flip=True)
    dataset: Any = feed.loader.dataset
    dataset.rows["b"] = dataset.rows["a"]
    dataset.rows["mask"] = dataset.rows["b"][:, :1] // 128 * 255
    batch = feed()
    same = (batch["a"] == batch["b"]).flatten(1).all(1)
    assert 0 < same.sum() < 20
    assert torch.equal(batch["mask"], (batch["b"][:, :1] > 0).float())


@pytest.mark.parametrize(
    ("keys", "augment", "message"),
    [
        ({"x": Key(kind="points", shape=(2, 2))}, {"flip": True}, r"'x' .* which of its 2 points .*`mirror`"),
        ({"x": Key(kind="vector", shape=(4,), of="image")}, {"flip": True}, "augment.flip must be off .*'x' describes"),
        ({"x": Key(kind="vector", shape=(4,), of="image")}, {"crop": 0.2}, "augment.crop must be off .*'x' describes"),
        ({"a": IMAGE, "b": IMAGE, "x": Key(kind="box", shape=(4,))}, {"flip": True}, "which of a, b it moves with"),
        ({"x": Key(kind="vector", shape=(4,))}, {"flip": True}, "augment.flip: the data has no images"),
        (
            {"image": IMAGE},
            {"crop": 0.1},
            "augment.crop = 0.1: that is less than a pixel of the 8x8 of 'image'; .* 0.125",
        ),
        ({"image": Key(kind="image", shape=(1, 1, 1))}, {"crop": 0.4}, "less than a pixel"),
    ],
)
def test_what_cannot_move_is_refused_before_training(
    keys: dict[str, Key], augment: dict[str, Any], message: str
) -> None:
    keys = keys if "image" in keys or "a" in keys or "no images" in message else {"image": IMAGE, **keys}
    with pytest.raises(UsageError, match=message):
        make_feed(keys, **augment)
    make_feed(keys)()  # without, it is what it was


def test_one_point_and_points_without_a_flip_need_no_mirror() -> None:
    make_feed({"image": IMAGE, "x": Key(kind="points", shape=(1, 2))}, flip=True)()
    make_feed({"image": IMAGE, "x": Key(kind="points", shape=(2, 2))}, crop=0.2)()


def test_a_spec_that_contradicts_itself_is_named() -> None:
    dataset = Made({"image": IMAGE})
    loader = Loader(dataset, 4)
    spec = DataSpec(keys={"image": IMAGE, "box": Key(kind="box", shape=(4,), of="photo")})
    with pytest.raises(PluginError, match="the dataset's spec, key 'box': it is of 'photo', which is no image"):
        Feed(loader, spec, Augment(), torch.Generator(), torch.device("cpu"), torch.contiguous_format)


def test_an_image_may_be_one_pixel_wide() -> None:
    batch = make_feed({"image": Key(kind="image", shape=(1, 16, 1))}, flip=True, crop=0.25)()
    assert batch["image"].shape == (20, 1, 16, 1)
