"""Metrics of the variant's own, over held-out batches."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest
import torch
from evaluation_toys import Free, Sides, SidesConfig, Thrower, Translator, parts, sides, spots

from gankit.discovery.entry_points import load_variant, variants
from gankit.errors import PluginError, UsageError
from gankit.evaluate import evaluate
from gankit.evaluate.own import HeldOut
from gankit.events import Progress, ignore
from gankit.training.validation import check_metric

CPU = torch.device("cpu")


class Returning(Thrower):
    def __init__(self, values: Any) -> None:
        super().__init__()
        self.values = values

    def measure(self, networks, batches, generator):  # type: ignore[no-untyped-def]
        return self.values


def test_they_are_measured_over_the_held_out_split_and_are_repeatable() -> None:
    given = spots(Thrower(), held_out=50)
    given[1]["generator"].train()
    before = torch.get_rng_state()
    result = evaluate(*given, batch_size=16)
    assert result["metrics"]["seen"] == 50
    assert 0 < result["metrics"]["off"] < 1
    assert "smaller is better" in result["protocol"]["metrics"]["off"]
    assert torch.equal(before, torch.get_rng_state())
    assert given[1]["generator"].training
    assert evaluate(*given, batch_size=16) == result
    assert evaluate(*given, metrics=["off"])["metrics"].keys() == {"off"}


def test_they_stand_beside_those_of_images() -> None:
    class Both(Free):
        metrics: ClassVar = {"bright": "larger"}

        def measure(self, networks: Any, batches: Iterable[dict[str, torch.Tensor]], generator: Any) -> dict[str, Any]:
            return {"bright": torch.stack([batch["image"].mean() for batch in batches]).mean()}

    result = evaluate(*parts(Both(), classes=False), n=20)["metrics"]
    assert {"bright", "swd", "diversity"} <= set(result)
    assert -1 < result["bright"] < 1
    with pytest.raises(UsageError, match="unknown metric 'brigth'; did you mean bright"):
        evaluate(*parts(Both()), metrics=["brigth"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"off": 1.0}, r"measure\(\) of Returning returned off; `metrics` has off, seen"),
        ({"off": 1.0, "seen": 2.0, "more": 3.0}, "returned off, seen, more"),
        ({}, "returned nothing"),
        (None, "returned a NoneType"),
        ({"off": "far", "seen": 1.0}, "off = 'far', which is no number"),
        ({"off": torch.zeros(2), "seen": 1.0}, "which is no number"),
    ],
)
def test_what_is_returned_is_checked(values: Any, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        evaluate(*spots(Returning(values)))


def test_a_value_that_is_not_finite_is_a_note() -> None:
    result = evaluate(*spots(Returning({"off": math.nan, "seen": 1})))
    assert result["metrics"] == {"seen": 1.0}
    assert "not defined for these samples: off" in result["notes"]


@pytest.mark.parametrize(
    ("metrics", "words"),
    [({"swd_16": "smaller"}, "a metric of gankit's own"), ({"off": "less"}, "says 'less' of 'off'")],
)
def test_names_and_directions_are_checked(metrics: Any, words: str) -> None:
    variant = type("Odd", (Thrower,), {"metrics": metrics})()
    with pytest.raises(PluginError, match=words):
        evaluate(*spots(variant))


def test_without_a_held_out_split_they_are_of_training_rows() -> None:
    variant, networks, spec, train, _ = spots(Thrower())
    result = evaluate(variant, networks, spec, train, None)
    assert result["metrics"]["seen"] == len(train)
    assert any("are of training rows" in note for note in result["notes"])


def test_a_side_without_held_out_samples_is_measured_on_training_rows() -> None:
    class Measured(Translator):
        metrics: ClassVar = {"seen": "larger"}

        def measure(self, networks: Any, batches: Iterable[dict[str, torch.Tensor]], generator: Any) -> dict[str, Any]:
            return {"seen": sum(len(batch["b"]) for batch in batches)}

    class OneSided(Sides):
        def streams(self) -> dict[str, int]:
            return {**super().streams(), "a": 0} if self.split == "test" else dict(super().streams())

    variant, networks, spec, train, _ = sides(Measured())
    result = evaluate(variant, networks, spec, train, OneSided(SidesConfig(), "test"), metrics=["seen"])
    assert result["metrics"]["seen"] == len(train)
    assert any("are of training rows" in note for note in result["notes"])


class TestHeldOut:
    def test_batches_are_as_in_a_step_and_mix_what_stands_together(self) -> None:
        test = sides(Translator())[4]
        events = []
        batches = HeldOut(test, 16, CPU, events.append)
        found = list(batches)
        assert [len(batch["a"]) for batch in found] == [16, 16, 9]
        assert [len(batch["b"]) for batch in found] == [16, 16, 9]
        assert found[0]["b"].dtype == torch.float32
        assert -1 <= found[0]["b"].min() < found[0]["b"].max() <= 1
        assert found[0]["a_shape"].dtype == torch.int64
        # every b once, and an a again where there are fewer of them
        seen = torch.cat([batch["b"] for batch in found]).flatten(1).unique(dim=0)
        assert len(seen) == 41
        assert len(torch.cat([batch["a"] for batch in found]).flatten(1).unique(dim=0)) == 40
        assert [event.done for event in events if isinstance(event, Progress)] == [0, 1, 2, 3]

    def test_they_may_be_gone_through_twice_and_are_the_same(self) -> None:
        test = Sides(SidesConfig(), "test")
        batches = HeldOut(test, 16, CPU, ignore)
        for first, second in zip(batches, HeldOut(test, 16, CPU, ignore), strict=True):
            assert torch.equal(first["a"], second["a"])
        assert len(list(batches)) == len(list(batches)) == len(batches) == 3


def test_no_installed_variant_names_a_metric_of_gankits_own() -> None:
    for name in variants():
        check_metric(load_variant(name))
