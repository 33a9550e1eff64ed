"""The reader: whether it finds captions on pairs it never saw, what R-precision counts, and that it is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gankit
from gankit.data.text import encode_text
from gankit.errors import UsageError
from gankit.evaluate import evaluate
from gankit.evaluate.reader import ReaderConfig, accuracy_on, images_of, r_precision, reader_for, train_reader
from gankit.evaluate.real import RealImages
from gankit.plugin import Config, Dataset, DataSpec, Key, Variant

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 60, 220), "white": (240, 240, 240)}
PLACES = ("left", "right", "top", "bottom")
QUICK = ReaderConfig(size=16, width=8, text_width=32, steps=150, batch_size=16)


class Halves(Dataset[Config]):
    """Half of a grey image in a colour, and a caption that says which half and which colour."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(keys={"image": Key(kind="image", shape=(3, 16, 16)), "text": Key(kind="text", shape=(24,))})

    def __len__(self) -> int:
        return 64 if self.split == "train" else 32

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {"image": drawn(indices), "text": encode_text([said(int(i)) for i in indices], 24)}


def said(index: int) -> str:
    return f"{list(COLOURS)[index % 4]} {PLACES[index // 4 % 4]}"


def drawn(indices: Tensor) -> Tensor:
    images = torch.full((len(indices), 3, 16, 16), 128, dtype=torch.uint8)
    halves = {"left": (..., slice(0, 8)), "right": (..., slice(8, 16))}
    halves |= {"top": (slice(None), slice(0, 8)), "bottom": (slice(None), slice(8, 16))}
    for image, index in zip(images, indices.tolist(), strict=True):
        colour, place = said(index).split()
        image[halves[place]] = torch.tensor(COLOURS[colour], dtype=torch.uint8).view(3, 1, 1)
        image += torch.randint(6, image.shape, generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
    return images


class Draws(Variant[Config]):
    """Draws what a caption says, or what the next one says."""

    dataset = "halves"
    requires = frozenset({"image", "text"})
    conditions = frozenset({"text"})
    metric = "r_precision"
    off = 0

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {"net": nn.Linear(1, 1)}

    def phases(self) -> Any:
        return ()

    def sample(self, networks: Any, request: Any) -> Tensor:
        from gankit.data.text import decode_text

        known = {said(index): index for index in range(16)}
        wanted = torch.tensor([known[text] for text in decode_text(request.batch["text"])])
        return drawn((wanted + self.off) % 16).float() / 127.5 - 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("gankit.evaluate.reader.ReaderConfig", lambda: QUICK)


def real(split: Any, cls: type[Dataset[Config]] = Halves) -> RealImages:
    return RealImages(cls(Config(), split), "image", "text")


def test_a_reader_finds_captions_of_images_it_never_saw() -> None:
    reader = train_reader(real("train"), QUICK)
    assert accuracy_on(reader, real("test"), "cpu")["r_precision"] >= 0.9


@pytest.mark.parametrize(("off", "least", "most"), [(0, 0.9, 1.0), (5, 0.0, 0.2)], ids=["right", "wrong"])
def test_samples_are_held_to_their_captions(off: int, least: float, most: float) -> None:
    variant = type("Off", (Draws,), {"off": off})(Config())
    data = [Halves(Config(), split) for split in ("train", "test")]  # type: ignore[arg-type]
    found = evaluate(variant, variant.networks(data[0].spec), data[0].spec, *data, n=40)
    assert least <= found["metrics"]["r_precision"] <= most
    assert found["protocol"]["floor"]["r_precision"] >= 0.9
    assert found["protocol"]["reader"]["accuracy_on_real"] == {"r_precision": found["protocol"]["floor"]["r_precision"]}


def test_classes_take_its_place_unless_it_is_asked_for() -> None:
    class Classed(Halves):
        @property
        def spec(self) -> DataSpec:
            return DataSpec(keys={**super().spec.keys, "colour": Key(kind="class", names=tuple(COLOURS))})

        def batch(self, indices: Tensor) -> dict[str, Tensor]:
            return {**super().batch(indices), "colour": indices % 4}

    data = [Classed(Config(), split) for split in ("train", "test")]  # type: ignore[arg-type]
    variant = Draws(Config())
    networks = variant.networks(data[0].spec)
    variant.metric = "accuracy"
    assert "r_precision" not in evaluate(variant, networks, data[0].spec, *data, n=8)["metrics"]
    asked = evaluate(variant, networks, data[0].spec, *data, n=8, metrics=["r_precision"])
    assert set(asked["metrics"]) == {"r_precision"}


def test_it_is_kept_and_made_again_for_other_captions(tmp_path: Path) -> None:
    told: list[Any] = []
    first = reader_for(real("train"), real("test"), tell=told.append)
    trained = len(told)
    again = reader_for(real("train"), real("test"), tell=told.append)
    assert len(told) == trained
    assert again.digest == first.digest
    assert torch.equal(again.judge.text.embed.weight, first.judge.text.embed.weight)

    class Others(Halves):
        def batch(self, indices: Tensor) -> dict[str, Tensor]:
            return {**super().batch(indices), "text": encode_text([f"a {said(int(i))}" for i in indices], 24)}

    assert reader_for(real("train", Others), real("test", Others)).digest != first.digest
    (tmp_path / "judges" / f"{first.digest}.safetensors").write_bytes(b"no weights")
    assert reader_for(real("train"), real("test"), tell=told.append).accuracy == first.accuracy
    assert any("damaged" in getattr(event, "text", "") for event in told)


def ranked(seen: Tensor, said: Tensor, *texts: str, images: str = "") -> float:
    rows = [text.encode() for text in texts]
    return r_precision(seen, said, rows, [one.encode() for one in images] or rows)


def test_r_precision_counts_first_places_among_other_images_captions() -> None:
    said_ = torch.eye(4)
    assert ranked(torch.eye(4), said_, "a", "b", "c", "d") == 1
    assert ranked(torch.eye(4)[[1, 0, 2, 3]], said_, "a", "b", "c", "d") == 0.5
    assert ranked(torch.full((4, 4), 0.5), said_, "a", "b", "c", "d") == 0  # a tie is no first place
    # an image's own caption under another row, and other captions of the same image, are no other captions
    assert ranked(torch.eye(4)[[0, 0, 2, 3]], said_[[0, 0, 2, 3]], "a", "a", "c", "d") == 1
    assert ranked(torch.eye(4)[[0, 0, 2, 3]], said_[[0, 0, 2, 3]], "a", "aa", "c", "d", images="ppqr") == 1
    assert math.isnan(ranked(torch.eye(2), said_[:2], "a", "a"))
    assert math.isnan(ranked(torch.eye(2), said_[:2], "a", "b", images="pp"))
    assert ranked(torch.full((4, 4), math.nan), said_, "a", "b", "c", "d") == 0  # what is not finite shows nothing


def test_no_more_than_a_hundred_captions_are_compared() -> None:
    generator = torch.Generator().manual_seed(0)
    seen, said_ = torch.randn(2, 1000, 8, generator=generator)
    assert ranked(seen, said_, *map(str, range(1000))) == pytest.approx(0.01, abs=0.01)
    assert ranked(seen[:20], said_[:20], *map(str, range(20))) < 0.3


class Shouted(Halves):
    """Each image twice: its caption in small letters, and in capitals."""

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        texts = [said(int(i) // 2) if i % 2 else said(int(i) // 2).upper() for i in indices]
        return {"image": drawn(indices // 2), "text": encode_text(texts, 24)}


def test_case_and_other_captions_of_an_image_do_not_count_as_others() -> None:
    reader = train_reader(real("train", Shouted), QUICK)
    assert accuracy_on(reader, real("test", Shouted), "cpu")["r_precision"] >= 0.9
    assert len(set(images_of(real("test", Shouted)).values())) == 16


def test_few_captions_and_few_pairs_are_told_of() -> None:
    data = [Halves(Config(), split) for split in ("train", "test")]  # type: ignore[arg-type]
    variant = Draws(Config())
    found = evaluate(variant, variant.networks(data[0].spec), data[0].spec, *data, n=40)
    assert any("r_precision is among the captions of" in note for note in found["notes"])
    assert found["protocol"]["reader"]["held_out_images"] == 32

    class One(Halves):
        def __len__(self) -> int:
            return 1

    pair = [One(Config(), split) for split in ("train", "test")]  # type: ignore[arg-type]
    assert "r_precision" not in evaluate(variant, variant.networks(pair[0].spec), pair[0].spec, *pair, n=4)["metrics"]


def test_one_pair_is_too_few() -> None:
    class One(Halves):
        def __len__(self) -> int:
            return 1

    with pytest.raises(UsageError, match="two image-text pairs"):
        train_reader(real("train", One), QUICK)


def test_the_table_has_it() -> None:
    assert gankit.evaluate.METRICS["r_precision"].figures == {"r_precision": "larger"}
