"""The commands on a made-up plugin, from training to samples, and what they say when something is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys

import pytest
from PIL import Image

from .conftest import GOOD


@pytest.fixture
def run(gankit, toy, tmp_path):
    """A run of six steps."""
    outcome = gankit("run", toy, "--json")
    assert outcome.code == 0, outcome.err
    return tmp_path / outcome.data["run"]


# --- run -------------------------------------------------------------------------------------------------------------


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
    staged = GOOD.replace(
        "        hidden: int",
        '        stage: int | None = Field(None, ge=1, le=2)\n        """Stage."""\n        hidden: int',
    ).replace("    averaged =", "    stages = 2\n    averaged =")
    name = site.add("toy", staged)
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


# --- resume, sample, eval --------------------------------------------------------------------------------------------


def test_resume(gankit, run):
    outcome = gankit("resume", run, "--steps", 8, "--json")
    assert (outcome.code, outcome.data["steps"]) == (0, 8)
    outcome = gankit("resume", run)
    assert outcome.code == 0
    assert "finished" in outcome.out


def test_samples_in_a_directory(gankit, run, tmp_path):
    outcome = gankit("sample", run, "--n", 3, "--label", 1, "--out", "new/dir", "--seed", 5)
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "new/dir"
    assert sorted(p.name for p in folder.iterdir()) == ["000000.png", "000001.png", "000002.png", "samples.jsonl"]
    assert Image.open(folder / "000000.png").size == (8, 8)
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == ["000000.png", "000001.png", "000002.png"]
    assert all(row["seed"] == 5 and row["label"] == "light" for row in rows)
    before = (folder / "000000.png").read_bytes()

    refused = gankit("sample", run, "--n", 3, "--out", folder, "--seed", 6)
    assert refused.code == 2
    assert "exists already" in refused.err
    assert (folder / "000000.png").read_bytes() == before
    assert gankit("sample", run, "--n", 3, "--label", 1, "--out", folder, "--seed", 6, "--overwrite").code == 0
    assert (folder / "000000.png").read_bytes() != before
    assert gankit("sample", run, "--n", 3, "--label", "light", "--out", folder, "--seed", 5, "--overwrite").code == 0
    assert (folder / "000000.png").read_bytes() == before  # a seed draws the same again


def test_sample_sheets(gankit, run):
    outcome = gankit("sample", run, "--n", 4, "--out", "sheet.png", "--json")
    assert outcome.data["files"] == ["sheet.png"]
    first, second = gankit("sample", run).out, gankit("sample", run).out
    assert "sample-0001.png" in first
    assert "sample-0002.png" in second
    assert (run / "sample-0002.png").is_file()
    assert gankit("sample", run, "--checkpoint", "step-000003", "--json").data["checkpoint"] == "step-000003"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--label", "9"), "'9' is not one of the 2 classes: dark, light"),
        (("--label", "-1"), "'-1' is not one of the 2 classes"),
        (("--text", "a red seven"), "cannot be asked for a text"),
        (("--n", "0"), "--n 0: must be at least 1"),
        (("--seed", "-1"), "--seed -1: must be at least 0"),
        (("--checkpoint", "step-000999"), "no checkpoint 'step-000999'. It has best, latest, step-000003"),
        (("--device", "gpu"), "gpu"),
        (("--n", "many"), "many"),
        (("--out", "sheet.jpg"), "a sheet is a PNG file"),
        (("--label", "²"), "'²' is not one of the 2 classes"),
    ],
)
def test_wrong_samples(gankit, run, arguments, words):
    outcome = gankit("sample", run, *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert len(outcome.err.strip().splitlines()) <= 2


def test_eval(gankit, run):
    outcome = gankit("eval", run, "--n", 8, "--json")
    assert outcome.code == 0, outcome.err
    assert {"metrics", "judge", "n", "checkpoint"} <= set(outcome.data)
    assert outcome.data["n"] == 8
    assert Image.open(run / "neighbours-0001.png").size[0] > 8
    assert outcome.data["sheet"] == str(run / "neighbours-0001.png")
    assert "Training a judge" in outcome.err
    outcome = gankit("eval", run, "--n", 2, "--sheet", "mine.png")
    assert "nearest training images: mine.png" in outcome.out
    assert "not defined" in outcome.err  # what the figures are worth is said
    for sheet, words in (
        ("mine.png", "exists already"),
        ("mine.jpg", "must be a PNG"),
        ("no/mine.png", "no directory"),
    ):
        refused = gankit("eval", run, "--n", 2, "--sheet", sheet)
        assert (refused.code, words in refused.err) == (2, True)
    assert gankit("eval", run, "--n", 1).code == 2


def test_nothing_but_data_on_stdout(gankit, site):
    loud = GOOD.replace("def networks(self, spec):\n", "def networks(self, spec):\n        print('hello')\n")
    outcome = gankit("run", site.add("toy", "print('imported')\n" + loud), "--json")
    assert outcome.data["steps"] == 6
    assert {"imported", "hello"} <= set(outcome.err.splitlines())


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "name the variant to train"),
        (("run", "toi"), "unknown variant 'toi'; did you mean 'toy'?"),
        (("run", "toy", "--dataset", "toy-dot"), "unknown dataset 'toy-dot'; did you mean 'toy-dots'?"),
        (("run", "toy", "--stps", "3"), "unknown option --stps; did you mean --steps?"),
        (("run", "toy", "--optim.lrr", "3"), "did you mean --optim.lr?"),
        (("run", "toy", "--batchsize", "3"), "did you mean --batch-size?"),
        (("run", "toy", "--zzz", "3"), "unknown option --zzz\n"),
        (("run", "toy", "--steps", "0"), "steps = '0': must be greater than or equal to 1"),
        (("run", "toy", "--steps", "-5"), "steps = '-5': must be greater than or equal to 1"),
        (("run", "toy", "--hidden", "65"), "hidden = '65': must be less than or equal to 64"),
        (("run", "toy", "--hidden", "x"), "hidden = 'x': must be a valid integer"),
        (("run", "toy", "--kind", "odd"), "kind = 'odd': must be 'plain' or 'fancy'"),
        (("run", "toy", "--optim.lr", "nan"), "optim.lr = 'nan'"),
        (("run", "toy", "--optim.betas", "0.5"), "optim.betas = ['0.5']: too few values"),
        (("run", "toy", "--augment.diff", "colour"), "augment.diff = 'colour': must be 'color'"),
        (("run", "toy", "--device", "tpu"), "device = 'tpu': must be auto, cpu, cuda, cuda:N or mps"),
        (("run", "toy", "--data.size", "2"), "data.size = '2': must be greater than or equal to 4"),
        (("run", "toy", "--preset", "wid"), "toy has no preset 'wid'; did you mean 'wide'?"),
        (("run", "toy", "--config", "none.toml"), "config file none.toml does not exist"),
        (("run", "toy", "--config", "."), "config file . cannot be read"),
        (("run", "toy", "--steps"), "--steps"),
        (("run", "toy", "extra"), "extra"),
        (("resume", "runs/nowhere"), "there is no run at runs/nowhere"),
        (("sample", "."), "is not a run"),
        (("smaple",), "Did you mean 'sample'?"),
        (("plugins",), "missing command: one of list, info, check, new"),
        (("plugins", "info", "toi"), "unknown plugin 'toi'; did you mean 'toy'?"),
        (("bench", "ops", "out.json"), "--json out.json"),
        (("bench", "ops", "--json", "no/out.json"), "there is no directory"),
        (("bench", "ops", "--op", "nonsense"), "nonsense"),
        (("bench", "ops", "--plot", "ops.txt"), "must end in .png"),
    ],
)
def test_wrong_usage(gankit, toy, arguments, words):
    outcome = gankit(*arguments)
    assert outcome.code == 2, outcome.err
    assert words in outcome.err
    assert outcome.out == ""
    assert len(outcome.err.strip().splitlines()) <= 2
    assert "Traceback" not in outcome.err


def test_config_files_that_are_wrong(gankit, toy, tmp_path):
    def say(text: str) -> str:
        (tmp_path / "c.toml").write_text(text)
        outcome = gankit("run", toy, "--config", "c.toml", "--dry-run")
        assert outcome.code == 2
        return outcome.err

    assert "is not TOML" in say("steps = = 3")
    assert "unknown option 'hiden' in file c.toml; did you mean 'hidden'?" in say("hiden = 3")
    assert "optim.lr = -1: must be greater than 0" in say("[optim]\nlr = -1")
    assert "is a configuration of 'dcgan', not of 'toy'" in say('variant = "dcgan"')
    for name in ("variant", "dataset", "preset"):
        assert f"{name} = 3: must be a name, in quotes" in say(f"{name} = 3")
    (tmp_path / "c.toml").write_text("steps = 4\naugment = {diff = []}", encoding="utf-8-sig")
    assert gankit("run", toy, "--config", "c.toml", "--augment.diff", "none", "--dry-run").code == 0
    assert "unknown dataset 'dots'" in say('dataset = "dots"')


def test_dataset_that_lacks_a_key(gankit, site, toy):
    plain = GOOD.replace(', "label": Key(kind="class", names=("dark", "light"))}', "}")
    site.add("plain", plain.replace(', "label": label}', "}"), variants={})
    broken = site.add("broken", "raise RuntimeError", variants={})
    outcome = gankit("run", toy, "--dataset", "plain-dots")
    assert outcome.code == 2
    assert "dataset 'plain-dots' has no label" in outcome.err
    assert "toy-dots" in outcome.err
    assert broken not in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
def test_unwritable_output(gankit, toy, run):
    outcome = gankit("run", toy, "--out", "/dev/null/runs")
    assert outcome.code == 2
    assert "cannot write to /dev/null/runs" in outcome.err
    outcome = gankit("sample", run, "--out", "/dev/null/x.png")
    assert outcome.code == 2
    assert "cannot write to /dev/null/x.png" in outcome.err


def test_truncated_checkpoint(gankit, run):
    for path in (run / "checkpoints").glob("step-000006/*.safetensors"):
        os.truncate(path, path.stat().st_size // 2)
    outcome = gankit("sample", run)
    assert outcome.code == 1
    assert "step-000006" in outcome.err
    assert "newest intact checkpoint is step-000003" in outcome.err
    assert gankit("sample", run, "--checkpoint", "step-000003").code == 0
    assert gankit("resume", run, "--json").data["steps"] == 6  # from the intact one


def test_checkpoint_of_another_variant(gankit, site, run, tmp_path):
    site.add("other", GOOD.replace("hidden: int = Field(8", "hidden: int = Field(9"))
    outcome = gankit("run", "other", "--json")
    theirs = tmp_path / outcome.data["run"]
    shutil.rmtree(theirs / "checkpoints")
    shutil.copytree(run / "checkpoints", theirs / "checkpoints")
    for command in ("sample", "resume"):
        outcome = gankit(command, theirs, *(["--steps", 9] if command == "resume" else []))
        assert outcome.code == 2, outcome.err
        assert "the checkpoint is of variant 'toy', not 'other'" in outcome.err


def test_failure_while_running(gankit, site, monkeypatch):
    boom = GOOD.replace("def fool(self, step):\n", "def fool(self, step):\n        raise ArithmeticError('boom')\n")
    name = site.add("toy", boom)
    outcome = gankit("run", name)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-2:] == [
        "error: ArithmeticError: boom",
        "set GANKIT_DEBUG=1 for the traceback",
    ]
    monkeypatch.setenv("GANKIT_DEBUG", "1")
    outcome = gankit("run", name)
    assert outcome.code == 1
    assert "Traceback" in outcome.err


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


# --- the rest --------------------------------------------------------------------------------------------------------


def test_list_and_info(gankit, toy):
    data = gankit("list", "--json").data
    assert "toy" in {entry["name"] for entry in data["variants"]}
    assert "toy-dots" in {entry["name"] for entry in data["datasets"]}
    assert re.search(r"^toy +gankit-plugin-toy +Made up.$", gankit("list").out, re.MULTILINE)
    assert "toy" not in sys.modules
    data = gankit("plugins", "list", "--json").data
    (mine,) = [entry for entry in data if entry["distribution"] == "gankit-plugin-toy"]
    assert (mine["variants"], mine["datasets"]) == (["toy"], ["toy-dots"])
    info = gankit("plugins", "info", "toy", "--json").data
    assert info["conditions"] == ["label"]
    assert {"name": "hidden", "type": "INT", "default": 8, "bounds": ">=1 <=64", "help": "Width."} in info["options"]
    text = gankit("plugins", "info", "toy").out
    # as they can be typed
    for option in (
        "--hidden +INT",
        "--optim.weight-decay +FLOAT",
        "--spectral/--no-spectral +BOOL +off",
        ".* 0.5,0.9 ",
    ):
        assert re.search(rf"^{option}", text, re.MULTILINE)
    assert "[bracketed] text is text." in text
    text = gankit("plugins", "info", "toy-dots").out
    assert "data.size" in text
    assert "A named source of samples" not in text  # Dots has no docstring, and its base class's says nothing of it


def test_doctor(gankit, toy, site):
    site.add("broken", "raise RuntimeError('no luck')")
    outcome = gankit("doctor", "--json")
    assert outcome.code == 0
    facts = {fact["name"]: fact for fact in outcome.data["facts"]}
    assert facts["torch"]["ok"]
    assert "kernels" in facts
    assert facts["variant toy"]["ok"]
    assert facts["variant broken"]["ok"] is False
    assert "no luck" in facts["variant broken"]["value"]
    assert "pip uninstall gankit-plugin-broken" in facts["variant broken"]["value"]
    assert "variant toy" in gankit("doctor").out


def test_bench_step(gankit, toy, tmp_path):
    outcome = gankit("bench", "step", "--variant", toy, "--rounds", 2, "--json", "rows.json")
    assert outcome.code == 0, outcome.err
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["variant"] == "toy"
    assert row["ratio"] > 0
    refused = gankit("bench", "step", "--variant", toy, "--json", "rows.json")
    assert refused.code == 2
    assert "exists already" in refused.err


def test_new_plugin_works(gankit, tmp_path, monkeypatch):
    outcome = gankit("plugins", "new", "my-gan", "--dir", "here", "--json")
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "here/gankit-plugin-my-gan"
    assert sorted(outcome.data["files"]) == [
        f"here/gankit-plugin-my-gan/{name}"
        for name in ("README.md", "gankit_plugin_my_gan/__init__.py", "pyproject.toml")
    ]
    before = (folder / "pyproject.toml").read_bytes()
    refused = gankit("plugins", "new", "my-gan", "--dir", "here")
    assert refused.code == 2
    assert "exists already" in refused.err
    assert (folder / "pyproject.toml").read_bytes() == before
    for name in ("My GAN", "a--b", "-a", "a_b", ""):
        assert gankit("plugins", "new", name).code == 2

    # as an installer would leave it, without one
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / "gankit_plugin_my_gan-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    groups = project["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in it.items()) for group, it in groups)
    )
    monkeypatch.syspath_prepend(str(folder))
    try:
        outcome = gankit("plugins", "check", "my-gan")
        assert outcome.code == 0, outcome.out
        taken = gankit("plugins", "new", "my-gan", "--dir", "there")
        assert taken.code == 2
        assert "is taken by gankit-plugin-my-gan" in taken.err
    finally:
        sys.modules.pop("gankit_plugin_my_gan", None)


def test_version(gankit):
    outcome = gankit("--version")
    assert outcome.code == 0
    assert re.fullmatch(r"gankit \d+\.\d+\.\d+\n", outcome.out)
