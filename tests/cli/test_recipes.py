"""Every block of docs/recipes.md runs as printed: its variants pass their check, train, are drawn from and judged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gankit.discovery.entry_points import load_dataset, load_variant

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
SOURCE = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
DATASETS = re.findall(r"^class (\w+)\((?:Dataset|Sides)\)", SOURCE, re.MULTILINE)
VARIANTS = [name for name in re.findall(r"^class (\w+)\(", SOURCE, re.MULTILINE) if name not in DATASETS]

# of a right variant: what is spoilt, by what, the check that must notice, and its reason
BROKEN = {
    "state on the variant": (
        "Adaptive",
        "ada.adapt(real)",
        "self.seen = getattr(self, 'seen', 0) + 1\n        ada.adapt(real)",
        "saving",
        "the variant's attribute 'seen' changes from step to step",
    ),
    "a sample of the wrong shape": (
        "Translator",
        'return networks["ab"](request.batch["a"])\n        return',
        'return networks["ab"](request.batch["a"]).flatten(1)\n        return',
        "samples",
        "asked for (1, 1, H, W) of 'b'",
    ),
    "produces nothing that is there": (
        "Translator",
        'produces = ("b", "a")',
        'produces = ("c",)',
        "phases",
        "has no c, which Translator draws",
    ),
    "random that is not": (
        "Translator",
        'frozenset({"a", "b"}), False',
        'frozenset({"a", "b"}), True',
        "samples",
        "same",
    ),
    "a metric under another name": (
        "Autoencoder",
        'return {"squared_error"',
        'return {"error"',
        "metrics",
        "returned error; `metrics` has squared_error",
    ),
    "codes of the wrong length": (
        "Autoencoder",
        'return networks["encoder"](batch["image"])',
        'return networks["encoder"](batch["image"])[:1]',
        "samples",
        "encode() returned (1, 8)",
    ),
    "a box that is none": (
        "Placed",
        "left + 8, top + 8], 1) / 16",
        "left - 8, top + 8], 1) / 16",
        "batches, train",
        "left",
    ),
    "a side without a stream": (
        "Translator",
        '{"a": 300, "b": 200}',
        '{"c": 300, "b": 200}',
        "dataset",
        "'a' belongs to",
    ),
    "keeps what is no mask": (
        "Filler",
        'requires, False, "mask"',
        'requires, False, "image"',
        "samples",
        "`keeps` names 'image', which is no mask that sample() is asked with",
    ),
    "figures of another kind": ("Line", ".expand(-1, -1, 3)", ".expand(-1, -1, 2)", "samples", "histogram"),
}


@pytest.fixture(params=VARIANTS)
def recipe(request, site) -> str:
    return install(site, SOURCE, request.param)


def install(site, source: str, variant: str) -> str:
    """The recipes as a plugin; the name of one of its variants."""
    names = {name.lower(): f"recipes:{name}" for name in VARIANTS}
    site.add("recipes", source, variants=names, datasets={name.lower(): f"recipes:{name}" for name in DATASETS})
    return variant.lower()


def test_there_is_a_recipe_for_each_need() -> None:
    assert len(VARIANTS) >= 10


def test_a_recipe_keeps_the_contract(recipe, gankit) -> None:
    outcome = gankit("plugins", "check", recipe, "--json")
    assert outcome.code == 0, [check for check in outcome.data["checks"] if not check["ok"]]


@pytest.fixture(scope="module")
def judges(tmp_path_factory) -> Path:
    """Where the judges of the recipes' data are kept: training one takes longer than all else."""
    return tmp_path_factory.mktemp("judges")


def test_a_recipe_trains_is_drawn_from_judged_and_resumed(recipe, gankit, judges, monkeypatch) -> None:
    monkeypatch.setenv("GANKIT_CACHE", str(judges))
    options = ("--batch-size", 8, "--sample-n", 6, "--log-every", 2, "--device", "cpu", "--json")
    run = gankit("run", recipe, "--steps", 6, *options).data["run"]
    assert gankit("sample", run, "--n", 3, "--json").data["n"] == 3
    metrics = gankit("eval", run, "--n", 20, "--json").data["metrics"]
    assert set(load_variant(recipe).metrics) <= set(metrics)
    assert gankit("resume", run, "--steps", 8, "--json").data["steps"] == 8


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_is_found(what, site, gankit) -> None:
    variant, good, bad, check, reason = BROKEN[what]
    assert SOURCE.count(good) >= 1
    outcome = gankit("plugins", "check", install(site, SOURCE.replace(good, bad), variant), "--json")
    failed = [result for result in outcome.data["checks"] if result["ok"] is False]
    assert outcome.code == 3, outcome.data["checks"]
    assert failed[0]["check"] == check, failed
    assert reason in failed[0]["detail"]


def test_every_dataset_passes_by_itself(site, gankit) -> None:
    install(site, SOURCE, "Plain")
    for name in DATASETS:
        assert load_dataset(name.lower())
        assert gankit("plugins", "check", name.lower()).code == 0
