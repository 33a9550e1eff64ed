"""The notebook's side: train, sample, options, stages."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from PIL import Image
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny, TinyConfig
from torch import nn

import gankit
from gankit.cli import runs
from gankit.data.images import write_png
from gankit.errors import GankitError, PluginError, UsageError
from gankit.plugin import DataSpec, Key, Optim
from gankit.training.events import Evaluated, Logged, Note, RunInterrupted, RunStarted, Sampled
from gankit.training.judging import check_metric, improves
from gankit.training.log import read_log


def train(tmp_path, variant=Tiny, data=None, **options):
    return gankit.train(variant, Blobs(data or BlobsConfig()), out=tmp_path, **{**SMALL, **options})


def test_importing_gankit_imports_no_torch():
    code = "import gankit, sys; assert 'torch' not in sys.modules; gankit.train; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gankit.nothing  # noqa: B018


def test_a_run_holds_what_it_should(tmp_path):
    run = train(tmp_path)
    assert {p.name for p in run.path.iterdir() if "tfevents" not in p.name} == {
        *("config.toml", "environment.json", "spec.json", "log.jsonl", "samples", "checkpoints"),
    }
    assert list(run.path.glob("events.out.tfevents*"))
    assert sorted(p.name for p in (run.path / "samples").iterdir()) == ["000000.png", "000006.png", "000012.png"]
    assert (run.steps, run.finished, run.metrics) == (12, True, {})
    rows = run.log
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert set(rows[0]) == {
        *("step", "discriminator/real", "discriminator/fake", "generator/adversarial"),
        *("lr", "samples_per_second", "seconds"),
    }
    text = (run.path / "environment.json").read_text() + (run.path / "config.toml").read_text()
    assert str(tmp_path) not in text


def test_the_logged_value_is_the_mean_since_the_last(tmp_path):
    every = train(tmp_path, log_every=1).log
    fourth = train(tmp_path, log_every=4).log
    mean = sum(row["generator/adversarial"] for row in every[4:8]) / 4
    assert fourth[1]["generator/adversarial"] == pytest.approx(mean, abs=1e-12)


def test_events_come_in_order(tmp_path):
    events = []
    gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path, on_event=events.append, **SMALL)
    names = [type(event).__name__ for event in events]
    assert names[:3] == ["RunStarted", "Sampled", "Saved"]
    assert names[-3:] == ["Sampled", "Saved", "Finished"]
    assert next(e for e in events if isinstance(e, RunStarted)).parameters["generator"] > 0
    assert [e.step for e in events if isinstance(e, Sampled)] == [0, 6, 12]
    assert all(e.samples_per_second > 0 for e in events if isinstance(e, Logged))


def test_samples_repeat_and_obey_the_request(tmp_path):
    run = train(tmp_path)
    first, again, other = run.sample(5, seed=3), run.sample(5, seed=3), run.sample(5, seed=4)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert first.images.dtype is torch.float32
    assert first.images.abs().max() <= 1
    assert [r["label"] for r in run.sample(5).records] == ["dark", "grey", "light", "dark", "grey"]
    assert [r["label"] for r in run.sample(2, label=1).records] == ["grey", "grey"]
    assert [r["label"] for r in run.sample(3, label=["light", 0]).records] == ["light", "dark", "light"]
    assert run.sample(130).images.shape == (130, 1, 8, 8)
    for label, text in ((3, "label 3 is not one of the 3 classes"), ("pink", "label 'pink' is not"), (-1, "label -1")):
        with pytest.raises(UsageError, match=text):
            run.sample(1, label=label)
    with pytest.raises(UsageError, match="cannot be asked for a text"):
        run.sample(1, text="a thin green two")
    with pytest.raises(UsageError, match="n must be at least 1"):
        run.sample(0)


def test_samples_are_saved_one_file_each_or_as_a_sheet(tmp_path):
    run = train(tmp_path)
    samples = run.sample(3, label="light", seed=5)
    files = samples.save(tmp_path / "deep" / "dir")
    assert [f.name for f in files] == ["000000.png", "000001.png", "000002.png", "samples.jsonl"]
    assert Image.open(files[0]).size == (8, 8)
    assert read_log(files[-1])[1] == {"file": "000001.png", "seed": 5, "index": 1, "label": "light"}
    with pytest.raises(UsageError, match="exists already"):
        samples.save(tmp_path / "deep" / "dir")
    samples.save(tmp_path / "deep" / "dir", overwrite=True)
    (sheet,) = samples.save(tmp_path / "sheet.png")
    assert Image.open(sheet).size[0] > 8
    with pytest.raises(UsageError, match="cannot write to"):
        samples.save(sheet / "below")


def test_overwriting_leaves_what_was_drawn_and_what_others_put_there(tmp_path):
    run, folder = train(tmp_path), tmp_path / "drawn"
    run.sample(4).save(folder)
    theirs = {"000009.png", "notes.txt", "0.png", "sub"}
    (folder / "sub").mkdir()
    for name in theirs - {"sub"}:
        (folder / name).write_text("mine")
    (tmp_path / "000000.png").write_text("mine")
    with (folder / "samples.jsonl").open("a") as index:  # names that no call writes
        index.writelines(json.dumps({"file": name}) + "\n" for name in ("../000000.png", "notes.txt", 3, "sub"))
    run.sample(2, seed=1).save(folder, overwrite=True)
    assert {p.name for p in folder.iterdir()} == theirs | {"000000.png", "000001.png", "samples.jsonl"}
    assert (tmp_path / "000000.png").exists()
    for content in ("", "rubbish", "[]\n", '{"file": "000001.png"}\n{'):
        (folder / "samples.jsonl").write_text(content)
        run.sample(1).save(folder, overwrite=True)
        assert (folder / "000001.png").exists() is ("000001" not in content)


def test_a_call_that_was_killed_is_cleared_away_by_the_next(tmp_path, monkeypatch):
    run, folder = train(tmp_path), tmp_path / "drawn"
    drawn = []

    def stop(path, image):
        drawn.append(write_png(path, image))
        if len(drawn) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("gankit.training.samples.write_png", stop)
    with pytest.raises(KeyboardInterrupt):
        run.sample(5).save(folder)
    monkeypatch.undo()
    run.sample(1).save(folder, overwrite=True)
    assert {p.name for p in folder.iterdir()} == {"000000.png", "samples.jsonl"}


def test_samples_are_drawn_on_the_device_that_the_command_takes(tmp_path, monkeypatch):
    """One rule for `gankit sample`, `gankit eval` and their methods: what `auto` is."""
    run, asked = train(tmp_path), []
    monkeypatch.setattr("gankit.api.resolve_device", lambda name: asked.append(name) or torch.device("cpu"))
    run.sample(1)
    run.networks()
    with pytest.raises(UsageError, match="n must be"):
        run.evaluate(0)
    assert set(asked) == {"auto"}
    for method in (run.sample, run.networks, run.evaluate):
        assert inspect.signature(method).parameters["device"].default == "auto"
    for command in (runs.sample, runs.evaluate):
        assert inspect.signature(command).parameters["device"].default == "auto"


def test_samples_come_from_the_average_in_eval_mode(tmp_path):
    run = train(tmp_path)
    networks = run.networks(device="cpu")
    assert not any(net.training for net in networks.values())
    raw = run.directory.load("latest")
    key = "5.weight"
    assert torch.equal(networks["generator"].state_dict()[key], raw.tensors["ema"][f"generator.{key}"])
    assert not torch.equal(networks["generator"].state_dict()[key], raw.tensors["weights"][f"generator.{key}"])
    plain = train(tmp_path, ema=0.0)
    assert "ema" not in plain.directory.load("latest").tensors
    assert plain.sample(2).images.shape[0] == 2


def test_options_with_underscores_nested_and_from_a_file(tmp_path):
    run = train(tmp_path, optim__lr=0.5, augment={"flip": True})
    assert run.config.options.optim == Optim(lr=0.5)
    assert run.config.run.augment.flip
    again = gankit.train(Tiny, Blobs(BlobsConfig()), config=run.path / "config.toml", out=tmp_path / "again", steps=2)
    assert again.config.options.optim.lr == 0.5
    assert again.steps == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"steps": 0}, "steps"),
        ({"optim__lr": -1.0}, r"optim\.lr"),
        ({"hiden": 3}, "hidden"),
        ({"device": "cuda:99"}, "cuda"),
        ({"precision": "fp16"}, "needs a CUDA device"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_wrong_options_write_nothing(tmp_path, options, text):
    with pytest.raises(UsageError, match=text):
        train(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_empty_data_writes_nothing_and_little_data_trains(tmp_path):
    with pytest.raises(UsageError, match="empty"):
        train(tmp_path, data=BlobsConfig(count=0))
    assert not list(tmp_path.iterdir())
    assert train(tmp_path, data=BlobsConfig(count=1)).finished
    assert train(tmp_path, data=BlobsConfig(count=3), batch_size=16).finished


class Unlabelled(Blobs):
    """Without labels."""

    @property
    def spec(self):
        return DataSpec(keys={"image": Key(kind="image", shape=(1, 8, 8))})


def test_a_dataset_that_lacks_a_key_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"dataset 'unlabelled' has no label, which Tiny requires; it has image\."):
        gankit.train(Tiny, Unlabelled(BlobsConfig()), out=tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        train(tmp_path / "file")


class WrongShape(Tiny):
    """Draws one image too many."""

    def sample(self, networks, request):
        return torch.zeros(request.n + 1, 1, 8, 8)


def test_a_plugin_that_draws_the_wrong_number_is_told(tmp_path):
    with pytest.raises(PluginError, match=r"sample\(\) returned shape \(7, 1, 8, 8\); asked for \(6, C, H, W\)"):
        train(tmp_path, WrongShape)


# evaluation


def test_the_best_checkpoint_is_kept(tmp_path, monkeypatch):
    class Judged(Tiny):
        metric = "accuracy"

    scores = iter([0.2, 0.9, 0.4, 0.9])
    monkeypatch.setattr("gankit.training.trainer.judge", lambda *args, **kwargs: {"accuracy": next(scores)})
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


# stages


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
    assert improves(name, metrics, None if best is None else {"metric": name, "value": best, "step": 1}) is better


@pytest.mark.parametrize("name", [None, "accuracy", "accuracy_all", "precision", "diversity_min", "swd_16"])
def test_figures_of_an_evaluation_may_pick_the_best(name):
    check_metric(name)


def test_an_unknown_metric_is_refused_before_anything_is_written(tmp_path):
    class Odd(Tiny):
        metric = "beauty"

    with pytest.raises(UsageError, match="metric 'beauty' is unknown; there are accuracy"):
        train(tmp_path, Odd, eval_every=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", [0, 3])
def test_a_stage_that_there_is_not(tmp_path, stage):
    with pytest.raises(UsageError, match=f"stage {stage}: staged has the stages 1 to 2"):
        train(tmp_path, Staged, stage=stage)
