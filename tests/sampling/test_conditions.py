"""What samples are asked for: what is given, rows of the held-out split, classes in turn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from captioned import ROWS, Captioned, make

from gankit.data.text import decode_text
from gankit.errors import PluginError, UsageError
from gankit.plugin import Config, DataSpec, Key
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
    with pytest.raises(UsageError, match="its samples depend on nothing that can be given"):
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


class Sides(Captioned):
    """Two sides without partners: letters and digits; the second is empty in the test split."""

    @property
    def spec(self):
        image = Key(kind="image", shape=(1, 2, 2))
        label = Key(kind="class", names=("x", "y"), of="a")
        return DataSpec(keys={"a": image, "b": image, "label": label})

    def streams(self):
        return {"a": 3, "b": 0 if self.split == "test" else 5}

    def batch(self, indices):
        assert isinstance(indices, dict)
        made = {}
        for side, numbers in indices.items():
            made[side] = numbers.view(-1, 1, 1, 1).repeat(1, 1, 2, 2).to(torch.uint8)
        if "a" in indices:
            made["label"] = indices["a"] % 2
        return made

    def source(self, index, stream=""):
        return f"{stream}/{index}.png" if stream == "a" else None


class Between(type(make())):
    """From one side to the other; asked also what the data lacks."""

    produces = ("b", "a")

    def asks(self, spec, produces):
        other = "a" if produces == "b" else "b"
        keys = {other: spec[other], "label": spec["label"], "mood": Key(kind="class", names=("calm", "wild"))}
        return {**keys, "goal": replace(spec["label"], target=True), "noise": Key(kind="vector", shape=(3,))}


def test_streams_are_read_only_where_they_are_needed():
    variant, splits = Between(Config()), [Sides(Config(), "test"), Sides(Config(), "train")]
    batch, records = asked(variant, splits[0].spec, 5, rows=lambda: splits)
    assert set(batch) == {"a", "label", "mood", "goal"}  # nothing stands in for the vector
    numbers = batch["a"][:, 0, 0, 0].add(1).mul(127.5).round().long()
    assert sorted(numbers[:3].tolist()) == [0, 1, 2]  # each once before any again
    assert torch.equal(batch["label"], numbers % 2)  # of the same row
    assert batch["mood"].tolist() == [0, 1, 0, 1, 0]
    assert batch["goal"].tolist() == [0, 0, 1, 1, 0]  # a target goes in turn, when the mood before it is through
    assert [record["a"] for record in records] == [f"a/{number}.png" for number in numbers.tolist()]

    batch, records = asked(variant, splits[0].spec, 4, to="a", rows=lambda: splits)  # only the training split has any
    assert {record["b"] for record in records} <= set(range(5))
    assert batch["label"].tolist() == [0, 1, 0, 1]  # of the other stream: in turn
    with pytest.raises(UsageError, match="no held-out samples to take b from; give b yourself"):
        asked(variant, splits[0].spec, 4, to="a", rows=lambda: splits[:1])


def test_what_is_given_comes_before_rows_and_turns():
    variant, spec = Between(Config()), Sides(Config()).spec
    given = {"a": torch.ones(1, 2, 2), "mood": "wild", "goal": ["y", 0], "noise": "1,2,3"}
    batch, records = asked(variant, spec, None, given=given)
    assert {name: len(rows) for name, rows in batch.items()} == {"a": 2, "label": 2, "mood": 2, "goal": 2, "noise": 2}
    assert records[0] == {"a": 0, "mood": "wild", "goal": "y", "noise": [1, 2, 3], "label": "x"}
    assert records[1] == {**records[0], "goal": "x"}
    assert len(asked(variant, spec, 4, given=given)[1]) == 4
    assert conditions(make("text"), ROWS.spec, None, given={"text": ["a"] * 20}).n == 20
    assert conditions(make(), ROWS.spec, None).n == 16


def test_asks_that_say_nothing_sensible():
    class Bad(Between):
        told = {"a": "image"}  # noqa: RUF012

        def asks(self, spec, produces):
            return self.told if self.told else {"c": spec["c"]}

    with pytest.raises(PluginError, match=r"Bad\.asks\(\) says 'image' of 'a'; it must be a gankit\.plugin\.Key"):
        conditions(Bad(Config()), Sides(Config()).spec, 2)
    Bad.told = {}
    with pytest.raises(PluginError, match=r"Bad\.asks\(\) names 'c', which is no key of the data"):
        conditions(Bad(Config()), Sides(Config()).spec, 2)


def test_several_classes_in_turn_meet_in_every_pair():
    spec = DataSpec(keys={"image": Key(kind="image", shape=(1, 2, 2))})

    class Dressed(type(make())):
        def asks(self, spec, produces):
            return {"hat": Key(kind="class", names=("a", "b", "c")), "coat": Key(kind="class", names=("d", "e"))}

    batch, records = asked(Dressed(Config()), spec, 8)
    assert batch["hat"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert batch["coat"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert list(records[0]) == ["hat", "coat"]
    assert conditions(Dressed(Config()), spec, 8).words == ("a", "b", "c")
    parts = [asked(Dressed(Config()), spec, 2, first=first)[0]["coat"] for first in (0, 2, 4, 6)]
    assert torch.equal(torch.cat(parts), batch["coat"])


def test_each_image_stands_with_each_class_given():
    variant, spec = Between(Config()), Sides(Config()).spec
    images = torch.stack([torch.full((1, 2, 2), value) for value in (-1.0, 0.0, 1.0)])
    given = conditions(variant, spec, None, given={"a": images, "goal": ["y", "x"]})
    assert (given.n, given.each, given.words) == (6, 2, ("y", "x"))
    assert [record["a"] for record in given.records] == [0, 0, 1, 1, 2, 2]
    assert given.batch["goal"].tolist() == [1, 0] * 3
    pairs = conditions(variant, spec, None, given={"a": images[:2], "goal": ["y", "x"]})  # as many: one for each
    assert (pairs.n, pairs.each) == (2, 1)
    held_out = conditions(variant, spec, 4, given={"goal": ["y", "x"]}, rows=lambda: [Sides(Config(), "test")])
    assert held_out.records[0]["a"] == held_out.records[1]["a"] != held_out.records[2]["a"]
