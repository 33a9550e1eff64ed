"""Samples of a run: what they are asked for, where they come from, the files they become."""

from __future__ import annotations

import inspect
import json
import re

import numpy as np
import pytest
import torch
from changers import Negative, Points, Shown
from PIL import Image
from tiny_gan import Blobs, Tiny
from training_helpers import train

from gankit.cli.evaluate import evaluate
from gankit.cli.sample import sample
from gankit.data.image_files import write_image
from gankit.errors import PluginError, UsageError
from gankit.plugin import DataSpec, Key
from gankit.runs.log import read_log
from gankit.sampling.draw import checked, fault_of
from gankit.sampling.samples import Samples


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
    with pytest.raises(UsageError, match="cannot be asked for 'text'"):
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

    def stop(path, image, **options):
        drawn.append(write_image(path, image, **options))
        if len(drawn) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("gankit.sampling.samples.write_image", stop)
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


def test_what_is_no_image_becomes_numbers(tmp_path):
    run = train(tmp_path / "run", Points, steps=1, sample_n=5)
    drawn = np.load(run.path / "samples" / "000001.npy", allow_pickle=False)
    assert drawn.shape == (5, 2)
    assert Image.open(run.path / "samples" / "000001-plot.png").size == (20, 10)  # figures stand beside
    samples = run.sample(3)
    assert samples.values.shape == (3, 2)
    for read in (lambda: samples.images, samples.page, lambda: samples.save(tmp_path / "a.png")):
        with pytest.raises(UsageError, match=r"no images but values of shape \(2,\)"):
            read()
    assert [path.name for path in samples.save(tmp_path / "a.npy")] == ["a.npy", "a-plot.png"]
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), samples.values.numpy())
    samples.save(tmp_path / "a.csv", overwrite=True)
    assert np.allclose(np.loadtxt(tmp_path / "a.csv", delimiter=","), samples.values.numpy(), atol=1e-7)
    names = [path.name for path in samples.save(tmp_path / "all")]
    assert names == ["samples.npy", "samples.jsonl", "figure-plot.png"]
    assert [row["file"] for row in read_log(tmp_path / "all" / "samples.jsonl")] == ["samples.npy"] * 3
    samples.save(tmp_path / "all", overwrite=True)


def test_images_of_other_channels_are_shown_in_part(tmp_path):
    records = [{"index": i} for i in range(2)]
    samples = Samples(torch.zeros(2, 5, 8, 8), records, "latest")
    assert samples.note == "pictures show the first 3 of 5 channels"
    assert samples.page().shape[2] == 3
    files = samples.save(tmp_path / "drawn")
    assert files[0].name == "000000.tif"  # of all five
    samples.save(tmp_path / "all.npy")
    assert np.load(tmp_path / "all.npy", allow_pickle=False).shape == (2, 5, 8, 8)


def test_panels_stand_on_the_sheets(tmp_path):
    run = train(tmp_path, Shown, steps=1, sample_n=20)
    (sheet,) = run.sample(20).save(tmp_path / "sheet.png")
    wide, high = Image.open(sheet).size
    assert wide == 2 * 96 + 2
    assert high > 16 * 96  # a row a sample, of no more than 16
    assert Image.open(run.path / "samples" / "000001.png").size == (wide, high)


def test_what_is_given_stands_beside_what_came_of_it(tmp_path):
    run = train(tmp_path, Negative, steps=1, sample_n=2)
    samples = run.sample(given={"image": torch.ones(3, 1, 8, 8)})
    assert list(samples.layout.panels) == ["image", "sample"]
    assert len(samples.records) == 3  # as many as images are given
    assert samples.images.max() < -0.9
    assert run.sample(2).layout.panels["image"].shape == (2, 1, 8, 8)  # held-out ones
    assert [record["mood"] for record in run.sample(3).records] == ["1", "0", "1"]
    assert [record["mood"] for record in run.sample(3, given={"mood": 1}).records] == ["1"] * 3  # the name, first
    assert len(run.sample(1, given={"image": torch.ones(3, 1, 8, 8)}).records) == 1
    with pytest.raises(UsageError, match=r"cannot be asked for 'colour'; .* image \(an image file .*box .*mood "):
        run.sample(1, given={"colour": 1})
    with pytest.raises(UsageError, match="label is given twice"):
        run.sample(1, label=1, given={"label": 1})


class Wrong(Points):
    """With figures or samples that are none."""

    kind = ""

    def figures(self, networks, request):
        return {"floats": {"plot": torch.zeros(2, 2, 3)}, "name": {"a/b": torch.zeros(2, 2, 3).byte()}}.get(
            self.kind, []
        )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("floats", r"figures\(\) returned torch.float32 \(2, 2, 3\) for 'plot'; it must be uint8 \(H, W, 3\)"),
        ("name", "figures\\(\\) has the name 'a/b'"),
        ("list", "figures\\(\\) returned a list"),
    ],
)
def test_figures_that_are_none(tmp_path, monkeypatch, kind, words):
    monkeypatch.setattr(Wrong, "kind", kind)
    with pytest.raises(PluginError, match=words):
        train(tmp_path, Wrong, steps=1)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (lambda n: [torch.zeros(1, 8, 8)] * n, "a list; a tensor is expected"),
        (lambda n: torch.zeros(n, 3, 8, 8), r"shape \(2, 3, 8, 8\); asked for \(2, 1, H, W\) of 'image'"),
        (lambda n: torch.zeros(n, 64), r"shape \(2, 64\)"),
        (lambda n: torch.zeros(n, 1, 8, 8, dtype=torch.uint8), "uint8; samples are floating point"),
        (lambda n: torch.zeros(n, 1, 0, 8), r"shape \(2, 1, 0, 8\)"),
    ],
)
def test_samples_that_are_not_as_asked(samples, words):
    spec = DataSpec(keys={"image": Key(kind="image", shape=(1, 8, 8))})
    assert re.search(words, fault_of(samples(2), 2, spec, "image"))


def test_samples_that_are_as_asked():
    keys = {"image": Key(kind="image", shape=(1, 8, 8)), "slant": Key(kind="vector", shape=(2,))}
    spec = DataSpec(keys=keys)
    assert not fault_of(torch.zeros(2, 1, 4, 4), 2, spec, "image")  # of another size
    assert not fault_of(torch.zeros(2, 2), 2, spec, "slant")
    assert not fault_of(torch.zeros(2), 2, spec, "")
    assert "asked for (2, 2) of 'slant'" in fault_of(torch.zeros(2, 3), 2, spec, "slant")
    assert "'b', which is no key of the data; it has image, slant" in fault_of(torch.zeros(2, 3), 2, spec, "b")


def test_a_sheet_is_asked_for_no_more_than_it_shows(tmp_path, monkeypatch):
    run = train(tmp_path, Shown, steps=1, sample_n=2)
    read, batch = [], Blobs.batch
    monkeypatch.setattr(Blobs, "batch", lambda self, indices: read.append(len(indices)) or batch(self, indices))
    samples = run.sample(500)
    assert len(samples.values) == 500
    assert max(read, default=0) <= 64
    assert len(samples.layout.panels["real"]) == 16


def test_infinite_pixels_are_neither_black_nor_white():
    spec = DataSpec(keys={"image": Key(kind="image", shape=(1, 1, 3))})
    found = checked(torch.tensor([[[[float("inf"), -float("inf"), 2.0]]]]), 1, spec, "image", "Tiny")
    assert found.isnan().flatten().tolist() == [True, True, False]
    assert float(found[..., 2]) == 1


def test_classes_given_for_images_have_a_column_each(tmp_path):
    run = train(tmp_path, Negative, steps=1, sample_n=2)
    images = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)])
    samples = run.sample(given={"image": images, "mood": ["1", "0"], "box": "0,0,1,1"})
    assert samples.layout.words == ("1", "0")
    page = samples.page().float()
    assert page.shape[1] == 3 * 96 + 2 * 2  # the image, and one of it for each class
    assert page.shape[0] > 3 * 96
    row = page[-48, 48::98, 0]  # of the last image, which is white
    assert row[0] == 255
    assert row[1] < 20  # its negative
    assert 120 < row[2] < 136  # mood 0 is class 1: grey
    own = train(tmp_path / "own", Shown, steps=1, sample_n=2)
    assert own.sample(4).layout.panels
