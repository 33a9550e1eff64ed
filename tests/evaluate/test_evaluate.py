"""`evaluate`: good samples score well, each kind of bad sample is found out, and nothing crashes it."""

import json
import math
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from evaluation_toys import SHAPE, Constant, Copier, Free, Painter, Reader, Shapes, ShapesConfig, parts

from gankit.errors import UsageError
from gankit.evaluate import evaluate
from gankit.events import Event, Progress
from gankit.plugin import DataSpec, Key


def test_good_samples_score_well_and_the_result_is_json() -> None:
    result = evaluate(*parts(Painter()), n=90)
    assert result["metrics"]["accuracy"] >= 0.97
    assert set(result["classes"]["shape"]) == {"bar", "column", "frame"}
    assert min(result["judge"]["accuracy_on_real"].values()) >= 0.97
    assert result["judge"]["held_out_images"] == 60
    assert (result["n"], result["seed"]) == (90, 0)
    assert 0.8 < result["metrics"]["diversity"] < 1.3
    assert result["metrics"]["fid_judge"] < 10 * result["protocol"]["floor"]["fid_judge"]
    assert result["metrics"]["memorised"] < 0.1
    assert "swd" not in result["metrics"]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_is_repeatable_and_leaves_random_state_and_modes_alone() -> None:
    given = parts(Painter())
    given[1]["generator"].train()
    before = torch.get_rng_state()
    first = evaluate(*given, n=30, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    assert given[1]["generator"].training
    assert evaluate(*parts(Painter()), n=30, seed=3) == first


def test_what_takes_long_is_told() -> None:
    events: list[Event] = []
    evaluate(*parts(Painter()), n=70, tell=events.append)
    works = list(dict.fromkeys(event.what for event in events if isinstance(event, Progress)))
    assert works[-3:] == ["looking at the test split", "looking at the train split", "drawing samples"]
    ends = [(event.done, event.total) for event in events if isinstance(event, Progress)]
    assert ends[-1] == (2, 2)


def test_a_generator_that_ignores_the_label_is_found_out() -> None:
    class Deaf(Painter):
        def wanted(self, batch: dict[str, torch.Tensor], n: int) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(n, dtype=torch.int64), torch.arange(n) % 2

    result = evaluate(*parts(Deaf()), n=60)
    assert result["metrics"]["accuracy"] == pytest.approx(1 / 3, abs=0.05)
    assert result["classes"]["shape"]["bar"] >= 0.95
    assert result["classes"]["shape"]["frame"] <= 0.05


def test_a_collapsed_generator_is_found_out() -> None:
    class Stuck(Painter):
        def sample(self, networks, request):  # type: ignore[no-untyped-def]
            images = super().sample(networks, request)
            return images[request.batch["shape"]]  # always the same image of a class (n is below one batch)

    good, bad = evaluate(*parts(Painter()), n=60)["metrics"], evaluate(*parts(Stuck()), n=60)["metrics"]
    assert bad["accuracy"] >= 0.95  # which alone would not show it
    assert bad["diversity"] == 0
    assert bad["recall"] < 0.2 < good["recall"]


def test_without_conditions_the_modes_are_counted() -> None:
    class Narrow(Free):
        def wanted(self, batch: dict[str, torch.Tensor], n: int) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ones(n, dtype=torch.int64), torch.arange(n) % 2

    class Blank(Constant):
        conditions = frozenset()
        metric = None

    good, bad, blank = (evaluate(*parts(one()), n=60) for one in (Free, Narrow, Blank))
    assert (good["metrics"]["modes"], bad["metrics"]["modes"]) == (6, 2)  # three shapes in two inks
    assert good["metrics"]["modes_kl"] < 0.1 < math.log(2.5) < bad["metrics"]["modes_kl"]
    assert good["metrics"]["sure"] > 0.8
    assert good["protocol"]["floor"]["modes"] == 6
    assert blank["metrics"]["modes"] == 1
    assert sum(good["shares"]["shape"].values()) == pytest.approx(1)
    assert good["shares"]["shape"] == pytest.approx(dict.fromkeys(SHAPE, 1 / 3), abs=0.05)
    assert bad["shares"] == {"shape": pytest.approx({"bar": 0, "column": 1, "frame": 0}, abs=0.05), "ink": ANY}
    asked = evaluate(*parts(Painter()), n=60)
    assert not {"modes", "modes_kl", "sure"} & set(asked["metrics"])  # of what is asked for all classes are drawn
    assert asked["shares"] == {}
    assert evaluate(*parts(Painter()), n=60, metrics=["modes"])["metrics"]["modes"] == 6


def test_a_metric_of_modes_picks_the_best_also_where_classes_are_asked_for() -> None:
    class Wide(Painter):
        metric = "modes_kl"

    assert {"accuracy", "modes_kl"} <= set(evaluate(*parts(Wide()), n=60)["metrics"])


def test_a_copying_generator_is_found_out() -> None:
    given = parts(Free())
    copier = (Copier(given[3].images), *given[1:])
    assert evaluate(*copier, n=60, metrics=["memorised"])["metrics"] == {"memorised": 1.0}
    assert evaluate(*given, n=60, metrics=["memorised"])["metrics"]["memorised"] < 0.1


def test_with_a_text_every_class_key_is_judged() -> None:
    result = evaluate(*parts(Reader()), n=60)
    figures = result["metrics"]
    assert figures["accuracy_shape"] >= 0.95
    assert figures["accuracy_ink"] >= 0.95
    assert figures["accuracy"] == pytest.approx((figures["accuracy_shape"] + figures["accuracy_ink"]) / 2)
    assert figures["accuracy_all"] <= min(figures["accuracy_shape"], figures["accuracy_ink"])
    assert set(result["classes"]) == {"shape", "ink"}


def test_data_without_classes() -> None:
    result = evaluate(*parts(Free(), classes=False), n=40)
    assert result["judge"] is None
    assert set(result["metrics"]) == {"swd", "swd_16", "diversity", "diversity_min", "memorised"}
    assert result["metrics"]["swd"] < 3 * result["protocol"]["floor"]["swd"]
    blank = evaluate(*parts(_unconditional(Constant()), classes=False), n=40)["metrics"]
    assert blank["swd"] > 5 * result["metrics"]["swd"]
    assert blank["diversity"] == 0


def test_the_metric_of_the_variant_is_always_there() -> None:
    assert "swd" in evaluate(*parts(Free()), n=20)["metrics"]


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_broken_samples_never_crash_it(value: float, n: int, tmp_path: Path) -> None:
    result = evaluate(*parts(Constant(value)), n=n, sheet=tmp_path / "neighbours.png")
    assert all(math.isfinite(figure) for figure in result["metrics"].values())
    assert any("NaN" in note for note in result["notes"]) == (not math.isfinite(value))
    assert (tmp_path / "neighbours.png").stat().st_size > 0


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (1, 1), (5, 40)])
def test_samples_of_another_size_are_resized_and_it_says_so(size: tuple[int, int]) -> None:
    result = evaluate(*parts(Constant(size=size)), n=4)
    assert any(f"{size[1]}x{size[0]}" in note for note in result["notes"])


@pytest.mark.parametrize("held_out", [0, 1, 2])
def test_few_or_no_held_out_images(held_out: int) -> None:
    result = evaluate(*parts(Painter(), held_out=held_out), n=12)
    assert result["judge"]["held_out_images"] == held_out
    assert bool(result["judge"]["accuracy_on_real"]) == bool(held_out)
    assert result["metrics"]["accuracy"] >= 0.9
    json.dumps(result, allow_nan=False)


def test_without_a_test_split_at_all() -> None:
    variant, networks, spec, train, _ = parts(Reader())
    result = evaluate(variant, networks, spec, train, None, n=12)
    assert any("no held-out split" in note for note in result["notes"])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_tiny_train_splits(count: int) -> None:
    result = evaluate(*parts(Painter(), count=count, held_out=count), n=5)
    json.dumps(result, allow_nan=False)


def test_writes_the_sheet_of_neighbours(tmp_path: Path) -> None:
    from PIL import Image

    evaluate(*parts(Free(), classes=False), n=20, sheet=tmp_path / "neighbours.png")
    with Image.open(tmp_path / "neighbours.png") as picture:
        assert picture.height > picture.width  # 12 samples with 6 neighbours each


def test_wrong_arguments() -> None:
    given = parts(Painter())
    with pytest.raises(UsageError, match="n must be at least 1, got 0"):
        evaluate(*given, n=0)
    with pytest.raises(UsageError, match="'acuracy'; did you mean accuracy"):
        evaluate(*given, metrics=["acuracy"])
    with pytest.raises(UsageError, match="'accuracy' does not apply"):
        evaluate(*parts(Free(), classes=False), metrics=["accuracy"])
    empty = Shapes(ShapesConfig(count=0))
    with pytest.raises(UsageError, match="train split is empty"):
        evaluate(*given[:3], empty, None)


def _unconditional(variant: Constant) -> Constant:
    variant.conditions = frozenset()  # type: ignore[misc]
    variant.metric = "swd"  # type: ignore[misc]
    return variant


@pytest.mark.parametrize("channels", [2, 5])
def test_images_of_odd_numbers_of_channels(channels: int, tmp_path: Path) -> None:
    class Layers(Shapes):
        @property
        def spec(self) -> DataSpec:
            return DataSpec(keys={"image": Key(kind="image", shape=(channels, 16, 16))})

        def batch(self, indices: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"image": super().batch(indices)["image"].expand(-1, channels, -1, -1).contiguous()}

    class Deep(Free):
        def sample(self, networks, request):  # type: ignore[no-untyped-def]
            return super().sample(networks, request).expand(-1, channels, -1, -1)

    train, test = Layers(ShapesConfig(classes=False)), Layers(ShapesConfig(classes=False), "test")
    sheet = tmp_path / "neighbours.png"
    result = evaluate(Deep(), Deep().networks(train.spec), train.spec, train, test, n=20, sheet=sheet)
    assert {"swd", "diversity", "memorised"} <= set(result["metrics"])
    assert any(f"of {channels} channels" in note for note in result["notes"])
    assert sheet.stat().st_size > 0
