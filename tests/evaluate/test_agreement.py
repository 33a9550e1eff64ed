"""Samples are held to the masks of what they are made of, where the data can see those masks in images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from gankit.data.faults import spec_fault
from gankit.errors import PluginError, UsageError
from gankit.evaluate import evaluate
from gankit.plugin import Config, Dataset, DataSpec, Key, Phase, SampleRequest, Variant


class Islands(Dataset[Config]):
    """Grey islands, black on white in `a` and white on black in `b`, of different places."""

    like: ClassVar[Mapping[str, str | None]] = {"a": "land_b", "b": "land_a"}

    @property
    def spec(self) -> DataSpec:
        images = {side: Key(kind="image", shape=(1, 16, 16)) for side in "ab"}
        masks = {f"land_{side}": Key(kind="mask", shape=(1, 16, 16), of=side, like=self.like[side]) for side in "ab"}
        return DataSpec(keys=images | masks)

    def streams(self) -> Mapping[str, int]:
        return {"a": 30, "b": 20} if self.split == "train" else {"a": 12, "b": 9}

    def batch(self, indices: Any) -> dict[str, Tensor]:
        found = {}
        for side, rows in indices.items():
            offset = torch.arange(16) + 3 * rows[:, None] + (side == "b")
            land = ((offset % 7 < 3)[:, None, None, :] & (torch.arange(16) < 12)[:, None]).to(torch.uint8) * 255
            found |= {side: 255 - land if side == "a" else land, f"land_{side}": land}
        return found

    def seen(self, images: Tensor, key: str) -> dict[str, Tensor]:
        assert images.dtype == torch.uint8
        return {f"land_{key}": images < 128 if key == "a" else images >= 128}


class Blind(Islands):
    like: ClassVar[Mapping[str, str | None]] = {"a": None, "b": None}


class Wrong(Islands):
    def seen(self, images: Tensor, key: str) -> dict[str, Tensor]:
        return {f"land_{key}": images[:, 0] >= 128}


class Negative(Variant[Config]):
    Config = Config
    requires = frozenset({"a", "b"})
    produces = ("b", "a")
    random = False

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {}

    def phases(self) -> Sequence[Phase]:
        return ()

    def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
        source = "b" if produces == "a" else "a"
        return {source: spec[source]}

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return -next(iter(request.batch.values()))


class Same(Negative):
    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return -super().sample(networks, request)


class Small(Negative):
    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return super().sample(networks, request)[..., ::2, ::2]


def judged(variant: type[Negative], data: type[Islands] = Islands, **options: Any) -> dict[str, Any]:
    train, test = data(Config()), data(Config(), "test")
    return evaluate(variant(Config()), {}, train.spec, train, test, **options)


@pytest.mark.parametrize("to", ["a", "b"])
@pytest.mark.parametrize("n", [None, 5, 40])
def test_what_agrees_and_what_is_inverted(to: str, n: int | None) -> None:
    right = judged(Negative, to=to, n=n)
    assert right["metrics"]["mask_agreement"] == 1
    assert not any("inverted" in note for note in right["notes"])
    inverted = judged(Same, to=to, n=n)
    assert inverted["metrics"]["mask_agreement"] == 0
    assert any("agree with the masks of what they are made of in 0% of the pixels" in one for one in inverted["notes"])


class Constant(Negative):
    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return torch.ones(request.n, 1, 16, 16)


@pytest.mark.parametrize("to", ["a", "b"])
def test_a_picture_of_nothing_is_not_called_inverted(to: str) -> None:
    result = judged(Constant, to=to)
    assert (result["metrics"]["mask_agreement"] < 0.5) == (to == "b")  # white: nothing but land in b, but sea in a
    assert not any("inverted" in note for note in result["notes"])


class Aligned(Islands):
    """Both images of one place, whose mask is that of a."""

    @property
    def spec(self) -> DataSpec:
        images = {"a": Key(kind="image", shape=(1, 16, 16)), "b": Key(kind="image", shape=(1, 16, 16), of="a")}
        return DataSpec(keys=images | {"land": Key(kind="mask", shape=(1, 16, 16), of="a", like="land")})

    def streams(self) -> Mapping[str, int]:
        return {"": 20 if self.split == "train" else 10}

    def batch(self, indices: Any) -> dict[str, Tensor]:
        land = super().batch({"a": indices})["land_a"]
        return {"a": 255 - land, "b": land, "land": land}

    def seen(self, images: Tensor, key: str) -> dict[str, Tensor]:
        return {"land": super().seen(images, key)[f"land_{key}"]}


@pytest.mark.parametrize("to", ["a", "b"])
def test_both_ways_between_aligned_images(to: str) -> None:
    assert judged(Negative, Aligned, to=to)["metrics"]["mask_agreement"] == 1
    assert judged(Same, Aligned, to=to)["metrics"]["mask_agreement"] == 0


class Laid(Islands):
    """Masks of a stream of their own, which any image may get: they say nothing of it."""

    @property
    def spec(self) -> DataSpec:
        keys = {side: Key(kind="image", shape=(1, 16, 16)) for side in "ab"}
        return DataSpec(keys={**keys, "mask": Key(kind="mask", shape=(1, 16, 16), of="a", like="mask")})

    def streams(self) -> Mapping[str, int]:
        return {**super().streams(), "mask": 3}

    def batch(self, indices: Any) -> dict[str, Tensor]:
        found = super().batch({side: rows for side, rows in indices.items() if side != "mask"})
        found = {name: rows for name, rows in found.items() if name in "ab"}
        return found | ({"mask": torch.zeros(len(indices["mask"]), 1, 16, 16).byte()} if "mask" in indices else {})


def test_a_mask_of_a_stream_of_its_own_holds_nothing() -> None:
    assert "mask_agreement" not in judged(Negative, Laid)["metrics"]


def test_samples_of_another_size_are_looked_at_as_they_are_shown() -> None:
    assert 0.6 < judged(Small)["metrics"]["mask_agreement"] < 1


def test_a_few_at_a_time_are_held_to_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gankit.evaluate.judged.at_once", lambda shape: 5)
    monkeypatch.setattr("gankit.sampling.draw.at_once", lambda shape, most=64: 7)
    assert judged(Negative)["metrics"]["mask_agreement"] == 1


def test_without_masks_to_be_held_to_there_is_no_agreement() -> None:
    assert "mask_agreement" not in judged(Negative, Blind)["metrics"]
    with pytest.raises(UsageError, match="'mask_agreement' does not apply"):
        judged(Negative, Blind, metrics=["mask_agreement"])


def test_what_is_seen_must_fit_the_mask() -> None:
    with pytest.raises(PluginError, match=r"Wrong.seen\(\) returned torch.bool \(12, 16, 16\) for 'land_b'"):
        judged(Negative, Wrong)


def test_a_mask_is_like_one_of_its_shape() -> None:
    image, mask = Key(kind="image", shape=(3, 8, 8)), Key(kind="mask", shape=(1, 8, 8), of="a", like="other")
    for other in (Key(kind="mask", shape=(1, 4, 4), of="a"), Key(kind="class", names=("x",), of="a")):
        fault = spec_fault(DataSpec(keys={"a": image, "mask": mask, "other": other}))
        assert "it is like 'other', which is no key of the same shape" in fault
    good = Key(kind="mask", shape=(1, 8, 8), of="a")
    assert not spec_fault(DataSpec(keys={"a": image, "mask": mask, "other": good}))
