"""What samples are asked for: labels, texts, rows of the held-out split."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gankit.data.text import decode_text, encode_text
from gankit.errors import UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key, Variant
from gankit.sampling.draw import columns, conditions, draw, evaluating

INKS = ("red", "blue")


class Captioned(Dataset[Config]):
    """Digits in an ink, with a caption."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, 4, 4)),
                "text": Key(kind="text", shape=(12,)),
                "digit": Key(kind="class", names=tuple("0123456789")),
                "ink": Key(kind="class", names=INKS),
                "vector": Key(kind="vector", shape=(2,)),
            }
        )

    def __len__(self) -> int:
        return 0 if self.split == "train" else 14

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        digit, ink = indices % 10, indices % 2
        texts = [f"{INKS[i]} {d}" for i, d in zip(ink.tolist(), digit.tolist(), strict=True)]
        return {
            "image": torch.full((len(indices), 3, 4, 4), 255, dtype=torch.uint8),
            "text": encode_text(texts, 12),
            "digit": digit,
            "ink": ink,
            "vector": torch.stack([digit, ink], 1).float(),
        }


ROWS = Captioned(Config(), "test")


def make(*names: str) -> Variant:
    class Asked(Variant[Config]):
        dataset = "captioned"
        conditions = frozenset(names)

        def networks(self, spec):
            return {"net": nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())}

        def phases(self):
            return []

        def sample(self, networks, request):
            return networks["net"](request.noise(request.n, 3, 4, 4)).add(10)

    return Asked(Config())


def test_captions_come_from_held_out_rows_with_their_attributes():
    batch, records = conditions(make("text"), ROWS.spec, 30, rows=lambda: ROWS, seed=1)
    assert set(batch) == {"text"}
    assert decode_text(batch["text"]) == [record["text"] for record in records]
    for record in records:
        assert record["text"] == f"{record['ink']} {record['digit']}"
    assert len({record["text"] for record in records[:14]}) == 10  # each row once before any again
    assert conditions(make("text"), ROWS.spec, 30, rows=lambda: ROWS, seed=1)[1] == records
    assert conditions(make("text"), ROWS.spec, 30, rows=lambda: ROWS, seed=2)[1] != records


def test_a_text_of_ones_own_is_repeated():
    batch, records = conditions(make("text"), ROWS.spec, 3, text=["a", "zwölf"])
    assert decode_text(batch["text"]) == ["a", "zwölf", "a"]
    assert records == [{"text": "a"}, {"text": "zwölf"}, {"text": "a"}]


def test_a_text_that_would_be_cut_is_refused():
    with pytest.raises(UsageError, match="longer than the 12 bytes"):
        conditions(make("text"), ROWS.spec, 1, text=["red 1", "a red seven\u00e9"])
    with pytest.raises(UsageError, match="empty list"):
        conditions(make("text"), ROWS.spec, 1, text=[])


def test_classes_beside_rows_are_those_of_the_rows():
    batch, records = conditions(make("vector", "digit"), ROWS.spec, 5, rows=lambda: ROWS)
    assert torch.equal(batch["vector"][:, 0].long(), batch["digit"])
    assert [record["digit"] for record in records] == batch["digit"].tolist()
    batch, records = conditions(make("text", "ink"), ROWS.spec, 4, text="x")
    assert batch["ink"].tolist() == [0, 1, 0, 1]
    assert records[1] == {"ink": "blue", "text": "x"}


def test_images_as_conditions_are_floats():
    batch, _ = conditions(make("image"), ROWS.spec, 2, rows=lambda: ROWS)
    assert batch["image"].dtype is torch.float32
    assert (batch["image"] == 1).all()


def test_rows_that_are_needed_and_not_there():
    for rows in (None, Captioned(Config(), "train")):
        with pytest.raises(UsageError, match="no held-out samples to take text from; give text yourself"):
            conditions(make("text"), ROWS.spec, 2, rows=lambda rows=rows: rows)


def test_nothing_is_asked_of_an_unconditional_variant():
    assert conditions(make(), ROWS.spec, 3) == ({}, [{}, {}, {}])
    with pytest.raises(UsageError, match="its samples depend on nothing"):
        conditions(make(), ROWS.spec, 3, label=1)


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


def test_sheets_put_a_class_in_a_column():
    assert columns(make("digit"), ROWS.spec, 64) == 10
    assert columns(make("digit"), ROWS.spec, 9) == 3
    assert columns(make("text"), ROWS.spec, 64) == 8


def test_rows_are_opened_only_when_something_is_taken_from_them():
    def gone():
        raise UsageError("data.root: /x is not there")

    assert len(conditions(make("text", "ink"), ROWS.spec, 2, rows=gone, text="a")[1]) == 2
    assert len(conditions(make("digit"), ROWS.spec, 2, rows=gone)[1]) == 2
    with pytest.raises(UsageError, match=r"text comes from the data unless given, and data\.root: /x is not there"):
        conditions(make("text"), ROWS.spec, 2, rows=gone)
