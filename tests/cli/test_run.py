"""`gankit run` on a made-up plugin, and its options."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import captioned
import pytest

from gankit.cli.train import next_command
from gankit.plugin import Config

from .conftest import GOOD

STAGED = GOOD.replace(
    "        hidden: int",
    '        stage: int | None = Field(None, ge=1, le=2)\n        """Stage."""\n        hidden: int',
).replace("    averaged =", "    stages = 2\n    averaged =")


def test_run_prints_one_object(gankit, toy, tmp_path):
    outcome = gankit("run", toy, "--json", "--steps", 4, "--optim.betas", "0.1,0.2", "--spectral")
    assert outcome.code == 0, outcome.err
    assert {"run", "steps", "seconds", "metrics"} <= set(outcome.data)
    assert outcome.data["steps"] == 4
    assert outcome.data["seconds"] > 0
    assert "step 4/4" in outcome.err  # progress does not disturb the data
    config = (tmp_path / outcome.data["run"] / "config.toml").read_text()
    assert "spectral = true" in config
    assert re.search(r"betas = \[\s*0.1,\s*0.2", config)


def test_run_ends_with_the_next_command(gankit, toy):
    outcome = gankit("run", toy)
    assert outcome.code == 0
    assert "run: runs/toy-toy-dots/0001  (6 steps" in outcome.out
    assert "losses: discriminator/loss" in outcome.out
    assert outcome.out.splitlines()[-1] == "next: gankit sample runs/toy-toy-dots/0001"


def test_config_of_a_run_can_be_fed_back(gankit, run, tmp_path):
    outcome = gankit("run", "toy", "--config", run / "config.toml", "--json", "--steps", 2, "--out", "again")
    assert outcome.code == 0, outcome.err
    assert outcome.data["steps"] == 2
    one, two = (run / "config.toml").read_text(), (tmp_path / outcome.data["run"] / "config.toml").read_text()
    assert one.replace("steps = 6", "steps = 2") == two


def test_dashes_and_underscores_are_the_same(gankit, toy):
    for option in ("--batch-size", "--batch_size"):
        outcome = gankit("run", toy, option, 3, "--dry-run", "--json")
        assert outcome.data["plans"][0]["batch_size"] == 3


def test_dry_run_writes_nothing(gankit, toy, tmp_path):
    before = sorted(tmp_path.iterdir())
    outcome = gankit("run", toy, "--dry-run")
    assert outcome.code == 0
    for words in ("toy on toy-dots, preset default: 6 steps of 4 samples", "generator", "image 1x8x8", "total"):
        assert words in outcome.out
    assert sorted(tmp_path.iterdir()) == before
    assert (
        gankit("run", toy, "--dry-run", "--json", "--data.size", 12).data["plans"][0]["data"]["image"]
        == "image 1x12x12"
    )


def test_run_resume_goes_on_or_starts(gankit, toy):
    first = gankit("run", toy, "--resume", "--json", "--steps", 2)
    assert (first.code, first.data["steps"]) == (0, 2)
    more = gankit("run", toy, "--resume", "--json", "--steps", 5)
    assert (more.data["run"], more.data["steps"]) == (first.data["run"], 5)
    assert "Going on with" in more.err
    again = gankit("run", toy, "--resume", "--json", "--steps", 5)
    assert (again.code, again.data["run"], again.data["steps"]) == (0, first.data["run"], 5)


def test_run_resume_trains_the_stages_that_are_missing(gankit, site):
    name = site.add("toy", STAGED)
    assert gankit("run", name, "--stage", 1, "--json").data["run"].endswith("0001")
    both = gankit("run", name, "--resume", "--json")
    assert (both.code, both.data["run"].split("/")[-1]) == (0, "0002"), both.err
    assert "runs/toy-toy-dots/0001 is finished" in both.err
    again = gankit("run", name, "--resume", "--json")
    assert again.data["run"].endswith("0002")
    first = gankit("run", name, "--resume", "--stage", 1, "--steps", 8, "--json")
    assert (first.data["run"].split("/")[-1], first.data["steps"]) == ("0001", 8)


def test_help_shows_options_of_plugin_and_data(gankit, toy):
    outcome = gankit("run", toy, "--help")
    assert outcome.code == 0
    text = " ".join(re.sub("[│╭╰─╮╯]", " ", outcome.out).split())
    for words in (
        "A toy.",
        "[bracketed] text is text.",
        "--hidden",
        "--spectral",
        "--no-spectral",
        "Kind [of toy].",
        "[plain|fancy]",
        "--optim.lr",
        "Optimiser",
        "--data.size",
        "Data: toy-dots",
        "--augment.flip",
        "default: 6",  # of the preset
        "[>=1 <=64, default: 8]",
    ):
        assert words in text, words
    assert "default: 3" in gankit("run", toy, "--preset", "wide", "--help").out


def test_nothing_but_data_on_stdout(gankit, site):
    loud = GOOD.replace("def networks(self, spec):\n", "def networks(self, spec):\n        print('hello')\n")
    outcome = gankit("run", site.add("toy", "print('imported')\n" + loud), "--json")
    assert outcome.data["steps"] == 6
    assert {"imported", "hello"} <= set(outcome.err.splitlines())


def test_interrupted(gankit, site, tmp_path):
    stop = GOOD.replace(
        "def fool(self, step):\n",
        "def fool(self, step):\n        import os, signal\n\n"
        "        step.index == 3 and os.kill(os.getpid(), signal.SIGINT)\n",
    )
    outcome = gankit("run", site.add("toy", stop))
    assert outcome.code == 130
    assert "gankit resume" in outcome.err
    assert gankit("resume", tmp_path / "runs/toy-toy-dots", "--steps", 3).code == 2  # 4 steps are done
    assert (tmp_path / "runs/toy-toy-dots/0001/checkpoints/step-000004").is_dir()


def test_missing_kernels_are_told_of_once_and_only_when_training_begins(gankit, site, monkeypatch):
    monkeypatch.setattr("gankit.ops._library.native_available", lambda device: False)
    name = site.add("toy", STAGED)
    assert gankit("run", name).err.count("gankit doctor says more") == 1
    assert gankit("resume", "runs/toy-toy-dots", "--steps", 7).err.count("gankit doctor says more") == 1
    for wrong in (("--preset", "wid"), ("--steps", 0), ("--device", "tpu")):
        assert "gankit doctor says more" not in gankit("run", name, *wrong).err


@pytest.mark.parametrize("what", ["gankit.discovery.entry_points.load_variant", "gankit.api.train"])
def test_interrupted_before_training_is_one_line(gankit, toy, monkeypatch, what):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(what, stop)
    outcome = gankit("run", toy)
    assert (outcome.code, outcome.out, outcome.err.splitlines()[-1]) == (130, "", "interrupted")


def test_what_to_type_next_asks_for_a_text_where_the_variant_can_be_asked_with_one():
    """By whatever name, and also where it trains without."""
    text = captioned.ROWS.spec["text"]

    class Named(type(captioned.make("digit"))):
        def asks(self, spec, produces):
            return {"caption": text}

    for variant, option in (
        (captioned.make("text"), ' --text "..."'),
        (captioned.make("digit"), ""),
        (Named(Config()), ' --given caption="..."'),
    ):
        run = SimpleNamespace(variant=variant, spec=captioned.ROWS.spec, path=Path("runs/x"))
        assert next_command(run) == f"gankit sample runs/x{option}"
