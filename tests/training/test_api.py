"""The notebook's side: train, options, data."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny, TinyConfig
from training_helpers import train

import gankit
from gankit.errors import UsageError
from gankit.events import Logged, Paced, RunStarted, Sampled
from gankit.plugin import DataSpec, Key, Optim, Variant


def test_importing_gankit_imports_no_torch():
    code = "import gankit, sys; assert 'torch' not in sys.modules; gankit.train; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gankit.nothing  # noqa: B018


def test_a_run_holds_what_it_should(tmp_path):
    run = train(tmp_path)
    assert {p.name for p in run.path.iterdir()} == {
        *("config.toml", "environment.json", "spec.json", "log.jsonl", "samples", "checkpoints", "report.html"),
    }
    assert sorted(p.name for p in (run.path / "samples").iterdir()) == ["000000.png", "000006.png", "000012.png"]
    assert (run.steps, run.finished, run.metrics) == (12, True, {})
    rows = run.log
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert set(rows[0]) == {
        *("step", "discriminator/real", "discriminator/fake", "generator/adversarial"),
        *("lr", "samples_per_second", "seconds"),
    }
    files = ("environment.json", "config.toml", "report.html")
    text = "".join((run.path / name).read_text(encoding="utf-8") for name in files)
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
    assert names[-4:] == ["Sampled", "Saved", "Reported", "Finished"]
    assert next(e for e in events if isinstance(e, RunStarted)).parameters["generator"] > 0
    assert [e.step for e in events if isinstance(e, Sampled)] == [0, 6, 12]
    assert all(e.samples_per_second > 0 for e in events if isinstance(e, Logged))


@pytest.mark.parametrize(("log_every", "told"), [(50, [4]), (4, []), (5, [4]), (1, [])])
def test_how_long_it_takes_is_told_before_the_first_losses(tmp_path, log_every, told):
    events = []
    run = train(tmp_path, steps=9, log_every=log_every, checkpoint_every=6, on_event=events.append)
    paced = [event for event in events if isinstance(event, Paced)]
    assert [event.step for event in paced] == told
    assert all(event.steps == 9 and event.seconds_left > 0 for event in paced)
    before = events.index(paced[0]) if paced else 0
    assert not any(isinstance(event, Logged) for event in events[:before])
    events.clear()
    run.resume(steps=20, on_event=events.append)
    assert [event.step for event in events if isinstance(event, Paced)] == [9 + step for step in told if log_every > 5]


@pytest.mark.parametrize(("steps", "log_every"), [(1, 50), (1, 1), (3, 1), (4, 4)])
def test_the_first_row_says_how_fast_it_was(tmp_path, steps, log_every):
    rows = train(tmp_path, steps=steps, log_every=log_every, checkpoint_every=steps).log
    assert all(row["samples_per_second"] > 0 for row in rows if "samples_per_second" in row)
    assert any("samples_per_second" in row for row in rows)


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


class IdleConfig(TinyConfig):
    """A part of it has an effect, and only where it is on."""

    part: Optim = Optim()
    """A part."""
    on: bool = False
    """Whether there is that part."""
    weight: float = 0.0
    """Its weight."""

    def without_effect(self):
        return {} if self.on else {"weight": "on = true", "part": "on = true"}


class Idle(Tiny):
    Config = IdleConfig
    presets = {"default": {"weight": 2.0}}  # noqa: RUF012


def test_an_option_that_is_given_and_does_nothing_is_refused(tmp_path):
    run = train(tmp_path, Idle, steps=1, part__lr=Optim().lr, weight=0.0)  # the default of either
    file = tmp_path / "part.toml"
    file.write_text("weight = 1.0")
    for given, words in (
        ({"weight": 1.0}, r"^weight = 1\.0: does nothing without on = true; give both, or leave it out$"),
        ({"weight": 2.0}, r"^weight = 2\.0: does nothing"),
        ({"part__lr": 1.0}, r"^part\.lr = 1\.0: does nothing without on = true"),
        ({"part": Optim(kind="sgd")}, r"^part\.kind = 'sgd': does nothing without on = true"),
    ):
        with pytest.raises(UsageError, match=words):
            train(tmp_path / "none", Idle, steps=1, **given)
        train(tmp_path / "on", Idle, steps=1, on=True, **given)
    for given, words in (
        ({"ema_until": 0.5}, r"^ema_until = 0\.5: does nothing without ema_start; give both"),
        ({"ema_start": 0.5, "ema": 0.0}, r"^ema_start = 0\.5: does nothing without ema;"),
        ({"eval_n": 3}, r"^eval_n = 3: does nothing without eval_every;"),
    ):
        with pytest.raises(UsageError, match=words):
            train(tmp_path / "none", Idle, steps=1, **given)
    train(tmp_path / "on", Idle, steps=1, ema_until=0.5, ema_start=0.1, eval_every=1, eval_n=2)
    assert not (tmp_path / "none").exists()
    # what is turned off, and what a preset, a file or a run says
    train(tmp_path, Idle, steps=1, part__weight_decay=0.0, weight=0.0)
    train(tmp_path, Idle, steps=1, config=file)
    preset = train(tmp_path, Idle, steps=1)
    assert preset.config.options.weight == 2.0
    assert train(tmp_path, Idle, config=preset.path / "config.toml").config.options.weight == 2.0
    preset.resume(steps=2)
    options = {"weight": 3.0, "out": run.path.parents[1], "resume": True}
    assert gankit.train(Idle, Blobs(BlobsConfig()), **options).config.options.weight == 2.0


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


def test_a_dataset_of_its_own_is_not_needed_where_one_is_given(tmp_path):
    class Bare(Variant[TinyConfig]):
        Config = TinyConfig
        requires, conditions = Tiny.requires, Tiny.conditions
        networks, phases, sample = Tiny.networks, Tiny.phases, Tiny.sample
        fake, discriminator_loss, generator_loss = Tiny.fake, Tiny.discriminator_loss, Tiny.generator_loss

    assert train(tmp_path, Bare, steps=1).steps == 1
    with pytest.raises(UsageError, match="Bare names no dataset of its own: give one, open or by name"):
        gankit.train(Bare, out=tmp_path)
