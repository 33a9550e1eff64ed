"""What samples are asked for: what is given, rows of the held-out split, classes in turn."""

from __future__ import annotations

import pytest
import torch
from captioned import ROWS, Captioned, make

from gankit.data.text import decode_text
from gankit.errors import UsageError
from gankit.plugin import Config
from gankit.sampling.conditions import conditions


def asked(*arguments, **settings):
    found = conditions(*arguments, **settings)
    return found.batch, found.records


def test_captions_come_from_held_out_rows_with_their_attributes():
    batch, records = asked(make("text"), ROWS.spec, 30, rows=lambda: [ROWS], seed=1)
    assert set(batch) == {"text"}
    assert decode_text(batch["text"]) == [record["text"] for record in records]
    for record in records:
        assert record["text"] == f"{record['ink']} {record['digit']}"
    assert len({record["text"] for record in records[:14]}) == 10  # each row once before any again
    assert asked(make("text"), ROWS.spec, 30, rows=lambda: [ROWS], seed=1)[1] == records
    assert asked(make("text"), ROWS.spec, 30, rows=lambda: [ROWS], seed=2)[1] != records


def test_a_text_of_ones_own_is_repeated():
    batch, records = asked(make("text"), ROWS.spec, 3, given={"text": ["a", "zwölf"]})
    assert decode_text(batch["text"]) == ["a", "zwölf", "a"]
    assert records == [{"text": "a"}, {"text": "zwölf"}, {"text": "a"}]


def test_a_text_that_would_be_cut_is_refused():
    with pytest.raises(UsageError, match="longer than the 12 bytes"):
        conditions(make("text"), ROWS.spec, 1, given={"text": ["red 1", "a red seven\u00e9"]})
    with pytest.raises(UsageError, match="empty list"):
        conditions(make("text"), ROWS.spec, 1, given={"text": []})


def test_classes_beside_rows_are_those_of_the_rows():
    batch, records = asked(make("vector", "digit"), ROWS.spec, 5, rows=lambda: [ROWS])
    assert torch.equal(batch["vector"][:, 0].long(), batch["digit"])
    assert [record["digit"] for record in records] == batch["digit"].tolist()
    batch, records = asked(make("text", "ink"), ROWS.spec, 4, given={"text": "x"})
    assert batch["ink"].tolist() == [0, 1, 0, 1]
    assert records[1] == {"ink": "blue", "text": "x"}


def test_images_as_conditions_are_floats():
    batch, _ = asked(make("image"), ROWS.spec, 2, rows=lambda: [ROWS])
    assert batch["image"].dtype is torch.float32
    assert (batch["image"] == 1).all()


def test_rows_that_are_needed_and_not_there():
    for rows in ([], [Captioned(Config(), "train")]):
        with pytest.raises(UsageError, match="no held-out samples to take text from; give text yourself"):
            conditions(make("text"), ROWS.spec, 2, rows=lambda rows=rows: rows)


def test_nothing_is_asked_of_an_unconditional_variant():
    assert asked(make(), ROWS.spec, 3) == ({}, [{}, {}, {}])
    with pytest.raises(UsageError, match="its samples depend on nothing"):
        conditions(make(), ROWS.spec, 3, given={"label": 1})


def test_classes_that_go_in_turn_are_the_words_above_columns():
    assert conditions(make("digit"), ROWS.spec, 64).words == tuple("0123456789")
    assert conditions(make("digit"), ROWS.spec, 9).words == ()
    assert conditions(make("text"), ROWS.spec, 64, rows=lambda: [ROWS]).words == ()
    assert conditions(make("text"), ROWS.spec, 64, given={"text": ["a", "b", "c"]}).words == ("a", "b", "c")
    assert conditions(make("text"), ROWS.spec, 2, given={"text": ["a", "b", "c"]}).words == ("a", "b")


def test_rows_are_opened_only_when_something_is_taken_from_them():
    def gone():
        raise UsageError("data.root: /x is not there")

    assert len(asked(make("text", "ink"), ROWS.spec, 2, rows=gone, given={"text": "a"})[1]) == 2
    assert len(asked(make("digit"), ROWS.spec, 2, rows=gone)[1]) == 2
    with pytest.raises(UsageError, match=r"text comes from the data unless given, and data\.root: /x is not there"):
        conditions(make("text"), ROWS.spec, 2, rows=gone)
