"""Samples are compared with real ones of what is produced, whatever else the data holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from evaluation_toys import Changer, Free, Painter, Refuser, Thrower, Translator, Turner, Unchanged, parts, sides, spots

from gankit.errors import UsageError
from gankit.evaluate import evaluate
from gankit.evaluate.real import RealImages, class_keys
from gankit.plugin import DataSpec, Key, SampleRequest


def test_a_translation_that_changes_nothing_is_worse_than_the_right_one() -> None:
    right, unchanged = (evaluate(*sides(variant), n=40) for variant in (Translator(), Unchanged()))
    assert right["produces"] == "b"
    assert unchanged["metrics"]["fid_judge"] > 5 * right["metrics"]["fid_judge"]
    assert right["metrics"]["precision"] > 0.8
    assert unchanged["metrics"]["precision"] < 0.2
    patches = [evaluate(*sides(one), n=40, metrics=["swd"])["metrics"]["swd"] for one in (Translator(), Unchanged())]
    assert patches[1] > 3 * patches[0]


def test_the_way_back_is_judged_by_the_other_side() -> None:
    back = evaluate(*sides(Translator()), n=40, to="a")
    assert back["produces"] == "a"
    assert set(back["judge"]["accuracy_on_real"]) == {"a_shape", "only_a"}
    assert "accuracy" not in back["metrics"]  # no class of b says what an a must show
    assert evaluate(*sides(Unchanged()), n=40, to="a")["metrics"]["fid_judge"] > 5 * back["metrics"]["fid_judge"]


def test_a_translation_is_held_to_the_class_of_what_it_was_given() -> None:
    right = evaluate(*sides(Translator()), n=40)
    assert set(right["judge"]["accuracy_on_real"]) == {"b_shape"}
    assert right["metrics"]["accuracy"] > 0.9
    turned = evaluate(*sides(Turner()), n=40)
    assert turned["metrics"]["accuracy"] < 0.6
    assert turned["classes"]["b_shape"]["frame"] > 0.9
    assert turned["classes"]["b_shape"]["bar"] < 0.1


def test_a_target_class_is_what_is_held_to_not_the_class_that_the_image_had() -> None:
    assert evaluate(*parts(Changer()), n=60)["metrics"]["accuracy"] > 0.95
    assert evaluate(*parts(Refuser()), n=60)["metrics"]["accuracy"] < 0.5


def test_the_judge_has_heads_for_the_produced_image_only() -> None:
    _, _, spec, train, _ = sides(Translator())
    assert class_keys(spec, "b") == {"b_shape": 3}
    assert class_keys(spec, "a") == {"a_shape": 3, "only_a": 2}
    assert class_keys(spec) == {}
    real = RealImages(train, "b")
    assert len(real) == 241
    assert set(real.batch(torch.arange(3))) == {"b", "b_shape"}


def test_what_answers_the_same_to_the_same_is_not_asked_twice_unless_told() -> None:
    given = sides(Translator())
    result = evaluate(*given)
    assert result["n"] == 40
    assert "n is 40: Translator makes one sample of an input, and there are no more inputs" in result["notes"]
    assert evaluate(*given, at_most=30)["n"] == 30
    again = evaluate(*given, n=60)
    assert again["n"] == 60
    assert any("some of 60 samples are repeated" in note for note in again["notes"])
    assert evaluate(*parts(Painter()), at_most=90)["n"] == 90


@pytest.mark.parametrize(("held_out", "n", "repeated"), [(40, 41, None), (1, 2, None), (1, 50, "are 2 inputs")])
def test_of_several_streams_the_longest_says_how_many_inputs_there_are(held_out, n, repeated) -> None:
    """`held_out` images of one side and one more of the other: their pairs are all others, up to the product."""

    class Both(Translator):
        def asks(self, spec: DataSpec, produces: str) -> Mapping[str, Key]:
            return {"a": spec["a"], "b": spec["b"]}

    given = sides(Both(), held_out=held_out)
    assert evaluate(*given)["n"] == held_out + 1
    notes = [note for note in evaluate(*given, n=n)["notes"] if "are repeated" in note]
    assert [repeated in note for note in notes] == ([True] if repeated else [])


def test_samples_that_are_no_images_have_only_the_metrics_of_their_variant(tmp_path: Path) -> None:
    result = evaluate(*spots(Thrower()), sheet=tmp_path / "neighbours.png")
    assert set(result["metrics"]) == {"off", "seen"}
    assert (result["n"], result["judge"], result["produces"]) == (0, None, "point")
    assert any("'point', which is a vector and no image" in note for note in result["notes"])
    assert not (tmp_path / "neighbours.png").exists()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    with pytest.raises(UsageError, match="'swd' does not apply to this variant and data; Thrower produces 'point'"):
        evaluate(*spots(Thrower()), metrics=["swd"])


def test_without_any_metric_it_says_so() -> None:
    class Plain(Thrower):
        metrics: ClassVar = {}

    class Unlike(Free):
        produces = ()

    result = evaluate(*spots(Plain()))
    assert result["metrics"] == {}
    assert any("there is nothing to measure" in note for note in result["notes"])
    result = evaluate(*parts(Unlike()))
    assert (result["metrics"], result["produces"]) == ({}, None)
    assert "the data has no samples of the kind that Unlike produces" in result["notes"][0]


def test_a_key_that_is_not_produced_is_refused() -> None:
    with pytest.raises(UsageError, match="Translator cannot draw 'c': it draws b, a"):
        evaluate(*sides(Translator()), to="c")


def test_no_held_out_inputs() -> None:
    variant, networks, spec, train, _ = sides(Translator())
    result = evaluate(variant, networks, spec, train, None, at_most=20)
    assert "there is no held-out split: conditions come from the training rows" in result["notes"]
    json.dumps(result, allow_nan=False)


def test_large_images_are_drawn_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counted(Translator):
        def sample(self, networks, request: SampleRequest) -> torch.Tensor:  # type: ignore[no-untyped-def]
            sizes.append((request.n, len(request.batch["a"])))
            return super().sample(networks, request)

    monkeypatch.setattr("gankit.sampling.draw.at_once", lambda shape, most=64: 7)
    few = evaluate(*sides(Counted()), n=40, metrics=["accuracy", "memorised", "diversity"])["metrics"]
    assert sizes == [(7, 7)] * 5 + [(5, 5)]
    monkeypatch.undo()
    whole = evaluate(*sides(Translator()), n=40, metrics=["accuracy", "memorised", "diversity"])["metrics"]
    assert few == whole
