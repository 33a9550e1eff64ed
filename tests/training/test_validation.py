"""Which checkpoint is the best."""

from __future__ import annotations

from typing import ClassVar

import pytest
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import train

import gankit
from gankit.errors import PluginError, UsageError
from gankit.evaluate import JudgeConfig
from gankit.events import Evaluated, Note
from gankit.training.validation import check_metric, improves


def test_the_best_checkpoint_is_kept(tmp_path, monkeypatch):
    class Judged(Tiny):
        metric = "accuracy"

    scores = iter([0.2, 0.9, 0.4, 0.9])
    monkeypatch.setattr(
        "gankit.training.trainer.evaluate_now", lambda *args, **kwargs: {"metrics": {"accuracy": next(scores)}}
    )
    events = []
    options = {**SMALL, "eval_every": 3, "keep": 1}
    run = gankit.train(Judged, Blobs(BlobsConfig()), out=tmp_path, on_event=events.append, **options)
    assert [(e.step, e.best) for e in events if isinstance(e, Evaluated)] == [
        *((3, True), (6, True), (9, False), (12, False)),
    ]
    assert run.directory.checkpoints() == ["step-000006", "step-000012"]
    assert run.directory.best == "step-000006"
    assert run.metrics == {"accuracy": 0.9}
    assert run.sample(1).checkpoint == "step-000006"
    assert run.sample(1, checkpoint="latest").checkpoint == "step-000012"


@pytest.fixture
def quick_judge(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path_factory.mktemp("judges")))
    monkeypatch.setattr("gankit.evaluate.cache.JudgeConfig", lambda: JudgeConfig(width=4, steps=5, batch_size=8))


def judged_by(name, **own):
    """A variant that picks its best checkpoint by `name`."""
    return type("Judged", (Tiny,), {"metric": name, "metrics": own})


@pytest.mark.parametrize(
    ("name", "value", "best", "better"),
    [
        ("accuracy", 0.5, None, True),
        ("accuracy", 0.5, 0.4, True),
        ("accuracy", 0.4, 0.4, False),
        ("fid_judge", 3.0, 4.0, True),
        ("swd", 5.0, 4.0, False),
        ("accuracy", float("nan"), None, False),
        ("absent", None, None, False),
    ],
)
def test_which_checkpoint_is_better(name, value, best, better):
    metrics = {} if value is None else {name: value}
    assert (
        improves(judged_by(name), metrics, None if best is None else {"metric": name, "value": best, "step": 1})
        is better
    )


@pytest.mark.parametrize("name", [None, "accuracy", "accuracy_all", "precision", "diversity_min", "swd_16"])
def test_figures_of_an_evaluation_may_pick_the_best(name):
    check_metric(judged_by(name))


def test_an_unknown_metric_is_refused_before_anything_is_written(tmp_path):
    class Odd(Tiny):
        metric = "beauty"

    with pytest.raises(UsageError, match="metric 'beauty' is unknown; there are accuracy"):
        train(tmp_path, Odd, eval_every=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick_judge")
def test_a_metric_of_the_variants_own_picks_the_best(tmp_path):
    class Counting(Tiny):
        metric = "error"
        metrics: ClassVar = {"error": "smaller"}
        values = iter([0.5, 0.2, 0.4, 0.1])

        def measure(self, networks, batches, generator):
            assert {len(batch["image"]) for batch in batches} == {7}
            return {"error": next(self.values)}

    events = []
    run = train(tmp_path, Counting, eval_every=3, eval_n=6, keep=1, on_event=events.append)
    assert [(e.step, e.best) for e in events if isinstance(e, Evaluated)] == [
        *((3, True), (6, True), (9, False), (12, True)),
    ]
    assert run.metrics["error"] == 0.1
    assert run.directory.best == "step-000012"


def test_evaluations_of_what_nothing_measures_say_so(tmp_path):
    class Unlike(Tiny):
        produces = ()
        metric = None

    events = []
    run = train(tmp_path, Unlike, eval_every=6, on_event=events.append)
    assert run.metrics == {}
    assert any("there is nothing to measure" in e.text for e in events if isinstance(e, Note))


@pytest.mark.usefixtures("quick_judge")
def test_a_best_checkpoint_that_cannot_be_picked_is_told(tmp_path):
    class Judged(Tiny):
        metric = "swd"  # images of 4 x 4 have no patches of 7 x 7

    events = []
    train(tmp_path, Judged, BlobsConfig(size=4), eval_every=12, eval_n=4, on_event=events.append)
    assert "there is no swd to pick the best checkpoint by" in [e.text for e in events if isinstance(e, Note)]


@pytest.mark.parametrize(("name", "own"), [("off", {"off": "less"}), (None, {"accuracy_x": "larger"})])
def test_own_metrics_are_checked_before_anything_is_written(tmp_path, name, own):
    with pytest.raises(PluginError, match="`metrics`"):
        train(tmp_path, judged_by(name, **own), eval_every=5)
    assert not list(tmp_path.iterdir())
