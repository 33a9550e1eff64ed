"""What the commands say when something is wrong."""

from __future__ import annotations

import sys

import pytest

from .conftest import GOOD


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
    assert "cannot write to /dev/null" in outcome.err


def test_failure_while_running(gankit, site, monkeypatch):
    boom = GOOD.replace(
        "def fool(self, step):\n", "def fool(self, step):\n        if step.index: raise ArithmeticError('boom')\n"
    )
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
