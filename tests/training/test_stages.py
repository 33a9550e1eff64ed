"""Variants trained in stages: what each builds on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny, TinyConfig
from torch import nn
from training_helpers import train

import gankit
from gankit.errors import GankitError, PluginError, UsageError
from gankit.events import Logged, Note, Reported, RunInterrupted, RunStarted, Sampled
from gankit.runs.directory import RunDir


class StagedConfig(TinyConfig):
    """With stages."""

    stage: int | None = None
    """Stage."""


class Staged(Tiny):
    """Stage 2 starts from the averaged generator of stage 1."""

    Config = StagedConfig
    stages = 2
    presets: ClassVar = {"default": SMALL}
    prepared: Sequence[float] = ()

    def networks(self, spec):
        networks = super().networks(spec)
        if self.config.stage == 2:
            networks = {"base": networks["generator"], **networks, "refiner": nn.Conv2d(1, 1, 1)}
            networks["generator"] = nn.Sequential(nn.Identity(), *networks.pop("generator"))
        return networks

    def inherits(self):
        return {"base": "generator"} if self.config.stage == 2 else {}

    def fake(self, step):
        if self.config.stage != 2:
            return super().fake(step)
        return step.networks["refiner"](step.networks["base"](self.latent(step)))

    def latent(self, step):
        label = nn.functional.one_hot(step.batch["label"], self.classes).float()
        return torch.cat([step.noise(step.size, 4), label], 1)

    def phases(self):
        d, g = super().phases()
        return [d, type(g)(name="refiner", updates=("refiner",), loss=g.loss)] if self.config.stage == 2 else [d, g]

    def prepare(self, preparation):
        if self.config.stage == 2:
            weight = preparation.networks["base"][5].weight
            Staged.prepared = weight.flatten().tolist()
            preparation.report("looked at what was inherited")

    def sample(self, networks, request):
        label = nn.functional.one_hot(request.batch["label"], 3).float()
        z = torch.cat([request.noise(request.n, 4), label], 1)
        return networks["refiner"](networks["base"](z)) if "refiner" in networks else networks["generator"](z)


def notes(events):
    return [event.text for event in events if isinstance(event, Note)]


def test_a_missing_stage_is_trained_first_then_found(tmp_path):
    events = []
    options = {"stage": 2}
    second = gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=events.append, **options)
    assert second.path.name == "0002"
    assert second.config.stage == 2
    assert notes(events) == [
        "Stage 2 builds on stage 1, which is not trained yet: training it first.",
        f"Stage 2 builds on stage 1 in {tmp_path / 'staged-blobs' / '0001'}.",
        "looked at what was inherited",
    ]
    first = gankit.open_run(tmp_path / "staged-blobs" / "0001", Staged, Blobs)
    assert first.config.stage == 1
    # the average of the first was taken over, and was there when the second prepared
    averaged = first.directory.load("best").tensors["ema"]["generator.5.weight"]
    assert second.directory.load("step-000012").tensors["weights"]["base.5.weight"].equal(averaged)
    assert Staged.prepared == averaged.flatten().tolist()
    origin = json.loads((second.path / "environment.json").read_text())["previous_stage"]
    assert origin == {"run": "../0001", "checkpoint": "step-000012"}

    events.clear()
    third = gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=events.append, **options)
    assert third.path.name == "0003"
    assert notes(events)[0] == f"Stage 2 builds on stage 1 in {first.path}."
    assert third.sample(2).images.shape == (2, 1, 8, 8)


def test_options_of_a_stage_are_not_those_of_one_that_is_trained_first(tmp_path):
    """What the weights depend on holds for both; how long and how often, for the one asked for."""
    events = []
    options = {"steps": 4, "batch_size": 5, "seed": 3, "optim__lr": 0.5, "data": {"size": 12}}
    kind = type("Staged", (Staged,), {})
    arguments = {"out": tmp_path, "stage": 2, **options}
    assert [p.steps for p in gankit.api.plan(kind, Blobs(BlobsConfig(size=12)), **arguments)] == [12, 4]
    second = gankit.train(kind, Blobs(BlobsConfig(size=12)), on_event=events.append, **arguments)
    assert notes(events)[0].endswith("(of the options given, batch_size, steps hold for stage 2 alone).")
    first = gankit.open_run(tmp_path / "staged-blobs" / "0001", kind, Blobs)
    assert [(r.steps, r.config.run.batch_size) for r in (first, second)] == [(12, 8), (4, 5)]
    for run in (first, second):
        assert (run.config.run.seed, run.config.options.optim.lr, run.config.data.size) == (3, 0.5, 12)
    # the second's own file says how it alone was trained, too
    again = gankit.train(kind, Blobs(BlobsConfig(size=12)), config=second.path / "config.toml", out=tmp_path / "new")
    assert again.steps == 4
    assert gankit.open_run(tmp_path / "new" / "staged-blobs" / "0001", kind, Blobs).steps == 12
    assert len(gankit.api.plan(kind, Blobs(BlobsConfig(size=12)), **arguments)) == 1  # nothing is missing any more


def test_interrupted_at_the_end_of_a_stage_the_next_is_not_begun(tmp_path):
    events = []

    def stop(event):
        events.append(event)
        if isinstance(event, Sampled) and event.step == 12:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # as schedulers do

    with pytest.raises(RunInterrupted, match="stage 1 is finished"):
        gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=stop)
    assert [e.stage for e in events if isinstance(e, RunStarted)] == [1]
    assert gankit.open_run(tmp_path / "staged-blobs", Staged, Blobs).finished


@pytest.mark.parametrize("other", [{"hidden": 5}, {"data": {"count": 19}}])
def test_an_earlier_stage_that_does_not_fit_is_not_used(tmp_path, other):
    gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, **SMALL, stage=1)
    events = []
    data = BlobsConfig(**other.get("data", {}))
    options = {k: v for k, v in other.items() if k != "data"}
    gankit.train(Staged, Blobs(data), out=tmp_path, on_event=events.append, **SMALL, stage=2, **options)
    assert "not trained yet" in notes(events)[0]


def test_an_unfinished_earlier_stage_is_not_used(tmp_path):
    def stop(event):
        if isinstance(event, Logged):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=stop, **SMALL, stage=1)
    events = []
    gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=events.append, **SMALL, stage=2)
    begun = tmp_path / "staged-blobs" / "0001"
    assert "builds on stage 1, which is not trained to its end in" in notes(events)[0]
    assert f"--resume goes on with it instead, as does: gankit resume {begun})" in notes(events)[0]
    events.clear()
    gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=events.append, **SMALL, stage=2)
    assert "builds on stage 1 in" in notes(events)[0]  # there is a finished one now


def test_without_a_stage_all_are_trained(tmp_path):
    started = []
    run = gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=started.append, **SMALL)
    assert [e.stage for e in started if isinstance(e, RunStarted)] == [1, 2]
    assert run.config.stage == 2
    pages = [event.path for event in started if isinstance(event, Reported)]
    assert pages == [run.path.parent / number / "report.html" for number in ("0001", "0002")]
    assert "step-000012 of ../0001" in pages[1].read_text(encoding="utf-8")


def test_a_second_stage_killed_before_its_first_checkpoint_still_inherits(tmp_path):
    def stop(event):
        if isinstance(event, RunStarted) and event.stage == 2:
            raise GankitError("killed")

    with pytest.raises(GankitError, match="killed"):
        gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, on_event=stop, **SMALL)
    run = gankit.open_run(tmp_path / "staged-blobs", Staged, Blobs)
    assert run.config.stage == 2
    run.resume()
    first = gankit.open_run(tmp_path / "staged-blobs" / "0001", Staged, Blobs).directory.load("best").tensors["ema"]
    assert run.directory.load("latest").tensors["weights"]["base.5.weight"].equal(first["generator.5.weight"])


@pytest.mark.parametrize("stage", [0, 3])
def test_a_stage_that_there_is_not(tmp_path, stage):
    with pytest.raises(UsageError, match=f"stage {stage}: staged has the stages 1 to 2"):
        train(tmp_path, Staged, stage=stage)


class Counted(Blobs):
    """Counts how often it is opened; `cache` says how it is read."""

    class Config(BlobsConfig):
        cache: bool = True

    reading = frozenset({"cache"})
    opened: ClassVar[list[str]] = []

    def __init__(self, config, split="train"):
        super().__init__(config, split)
        Counted.opened.append(split)


def test_a_stage_opens_the_data_once_and_reads_the_weights_of_the_one_before_once(tmp_path, monkeypatch):
    monkeypatch.setattr("gankit.training.launch.load_dataset", lambda name: Counted)
    first = gankit.train(Staged, "blobs", out=tmp_path, **SMALL, stage=1)
    read = []
    load = RunDir.load
    monkeypatch.setattr(RunDir, "load", lambda self, *rest: read.append(self.path) or load(self, *rest))
    Counted.opened.clear()
    events = []
    second = gankit.train(Staged, "blobs", out=tmp_path, on_event=events.append, **SMALL, stage=2, data__cache=False)
    assert f"Stage 2 builds on stage 1 in {first.path}." in notes(events)  # a cache makes no other data
    assert Counted.opened == ["train", "test"]
    assert read == [first.path]
    second.sample(2)
    second.resume(14)
    assert Counted.opened == ["train", "test"]  # what is open stays open for the run that comes of it


def test_what_is_wrong_with_a_later_stage_is_said_before_an_earlier_one_is_trained(tmp_path):
    class Wrong(Staged):
        def sample(self, networks, request):
            return super().sample(networks, request)[:, :, : 8 if self.config.stage == 1 else 0]

    for options in ({}, {"stage": 2}):
        with pytest.raises(PluginError, match=r"Wrong: sample\(\) returned shape"):
            gankit.train(Wrong, Blobs(BlobsConfig()), out=tmp_path, **SMALL, **options)
    assert not list(tmp_path.iterdir())


def test_stages_that_are_missing_after_a_resumed_one_follow(tmp_path):
    first = gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, **SMALL, stage=1)
    both = gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, **SMALL, resume=True)
    assert (both.path.name, both.config.stage, both.finished) == ("0002", 2, True)
    again = gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, **{**SMALL, "steps": 15}, resume=True, stage=1)
    assert (again.path, again.steps) == (first.path, 15)


class OverlaidConfig(StagedConfig):
    """With an option that another one turns on."""

    on: bool = False
    """Whether there is a part."""
    weight: float = 0.0
    """Its weight."""

    def without_effect(self):
        return {} if self.on else {"weight": "on = true"}


class Overlaid(Staged):
    """Stage 1 has a rising average and a part, and stage 2 is evaluated."""

    Config = OverlaidConfig
    presets: ClassVar = {
        "default": {**SMALL, "stage1": {"ema_start": 0.1, "on": True}, "stage2": {"eval_every": 2}},
    }


def test_an_option_that_one_stage_has_a_use_for_is_taken(tmp_path):
    run = gankit.train(Overlaid, Blobs(BlobsConfig()), out=tmp_path, ema_until=0.5, eval_n=3, weight=1.0)
    assert run.config.run.ema_until == 0.5
    gankit.train(Overlaid, Blobs(BlobsConfig()), out=tmp_path, weight=2.0, stage=2)  # and stage 1 before it
    # those of one stage alone hold for the one that is asked for
    for options in (
        {"stage": 1, "eval_n": 3},
        {"stage": 2, "ema_until": 0.5},
        {"stage": 2, "weight": 1.0, "on": False},
    ):
        with pytest.raises(UsageError, match="does nothing without"):
            gankit.train(Overlaid, Blobs(BlobsConfig()), out=tmp_path, **options)
    with pytest.raises(UsageError, match=r"^eval_n = 3: does nothing without eval_every;"):
        gankit.train(Staged, Blobs(BlobsConfig()), out=tmp_path, eval_n=3)


def test_a_stage_starts_from_another_run_of_it(tmp_path):
    """The earlier stage is not trained where all that it would give comes along."""
    data = Blobs(BlobsConfig())
    first = gankit.train(Staged, data, out=tmp_path / "first", stage=2)
    begun = gankit.train(Staged, data, out=tmp_path / "second", stage=2, init=first.path, steps=1)
    assert [path.name for path in begun.path.parent.iterdir()] == ["0001"]
    said = json.loads((begun.path / "environment.json").read_text())
    assert "init" in said
    assert "previous_stage" not in said
    then = gankit.train(Staged, data, out=tmp_path / "second", stage=2, init=first.path, steps=1).networks("0")["base"]
    for one, other in zip(then.parameters(), first.networks("latest")["base"].parameters(), strict=True):
        assert torch.equal(one, other)
    # after an earlier stage alone, as when a process has died between the two
    gankit.train(Staged, data, out=tmp_path / "third", stage=1)
    given = {"stage": 2, "init": first.path, "steps": 1, "resume": True}
    then = gankit.train(Staged, data, out=tmp_path / "third", **given)
    assert "init" in json.loads((then.path / "environment.json").read_text())
    with pytest.raises(UsageError, match="is where one stage starts: say which"):
        gankit.train(Staged, data, out=tmp_path, init=first.path)
