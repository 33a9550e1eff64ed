"""Samples of a run: what they are asked for, where they come from, the files they become."""

from __future__ import annotations

import inspect
import json

import pytest
import torch
from PIL import Image
from tiny_gan import Tiny
from training_helpers import train

from gankit.cli.evaluate import evaluate
from gankit.cli.sample import sample
from gankit.data.images import write_png
from gankit.errors import PluginError, UsageError
from gankit.runs.log import read_log


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

    monkeypatch.setattr("gankit.sampling.samples.write_png", stop)
    with pytest.raises(KeyboardInterrupt):
        run.sample(5).save(folder)
    monkeypatch.undo()
    run.sample(1).save(folder, overwrite=True)
    assert {p.name for p in folder.iterdir()} == {"000000.png", "samples.jsonl"}


def test_samples_are_drawn_on_the_device_that_the_command_takes(tmp_path, monkeypatch):
    """One rule for `gankit sample`, `gankit eval` and their methods: what `auto` is."""
    run, asked = train(tmp_path), []
    monkeypatch.setattr("gankit.run.resolve_device", lambda name: asked.append(name) or torch.device("cpu"))
    run.sample(1)
    run.networks()
    with pytest.raises(UsageError, match="n must be"):
        run.evaluate(0)
    assert set(asked) == {"auto"}
    for method in (run.sample, run.networks, run.evaluate):
        assert inspect.signature(method).parameters["device"].default == "auto"
    for command in (sample, evaluate):
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


class WrongShape(Tiny):
    """Draws one image too many."""

    def sample(self, networks, request):
        return torch.zeros(request.n + 1, 1, 8, 8)


def test_a_plugin_that_draws_the_wrong_number_is_told(tmp_path):
    with pytest.raises(PluginError, match=r"sample\(\) returned shape \(3, 1, 8, 8\); asked for \(2, 1, H, W\)"):
        train(tmp_path, WrongShape)
    assert not list(tmp_path.iterdir())  # found before the run has a directory
