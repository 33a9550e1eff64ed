"""What is exported of a run is what is sampled from it, in each format; a file that differs is deleted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_gan import Blobs, BlobsConfig, Tiny

import gankit
from gankit.device import make_generator
from gankit.errors import GankitError, PluginError, UsageError
from gankit.export import pt2_file
from gankit.export.job import CPU

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory, one_thread):
    options = {"steps": 2, "batch_size": 4, "sample_every": 0, "device": "cpu"}
    return gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path_factory.mktemp("runs"), **options)


def noise_of(seed, n):
    return torch.randn(n, 4, generator=make_generator(seed, "sample", CPU))


def test_a_file_draws_what_the_run_draws(run, tmp_path):
    made = run.export(tmp_path / "tiny.onnx")
    assert made.difference < 1e-5
    labels = [2, 0, 1, 1, 0]
    wanted = run.sample(5, label=labels, seed=3).values
    session = onnxruntime.InferenceSession(str(made.path))
    (images,) = session.run(["images"], {"noise": noise_of(3, 5).numpy(), "label": np.array(labels)})
    assert np.abs(images - wanted.numpy()).max() < 1e-5

    facts = session.get_modelmeta().custom_metadata_map
    assert facts["gankit"] == gankit.__version__
    assert (facts["variant"], facts["dataset"], facts["checkpoint"], facts["step"]) == (
        "tiny",
        "blobs",
        "step-000002",
        "2",
    )
    assert json.loads(facts["options"])["hidden"] == 8
    noise, label = json.loads(facts["inputs"])
    assert noise == {
        "name": "noise",
        "dtype": "float32",
        "shape": ["batch", "4"],
        "kind": "noise",
        "drawn": "standard normal",
    }
    assert label["names"] == ["dark", "grey", "light"]
    assert json.loads(facts["output"])["range"] == [-1, 1]
    assert str(Path(gankit.__file__).parent).encode() not in made.path.read_bytes()


def test_weights_are_drawn_from_again(run, tmp_path):
    made = run.export(tmp_path / "tiny.safetensors")
    assert made.difference == 0
    (tmp_path / "other").touch()
    assert made.path.stat().st_mode == (tmp_path / "other").stat().st_mode
    loaded = gankit.open_export(made.path, Tiny)
    wanted = run.sample(6, label=[0, 1], seed=4)
    assert torch.equal(loaded.sample(6, given={"label": [0, 1]}, seed=4).values, wanted.values)
    assert set(loaded.networks) == {"generator"}
    assert loaded.about["step"] == 2
    with safe_open(made.path, "pt") as file:
        assert all(name.startswith("generator.") for name in file.keys())  # noqa: SIM118
    with pytest.raises(UsageError, match="there is no file"):
        gankit.open_export(tmp_path / "other.safetensors", Tiny)
    made.path.write_bytes(made.path.read_bytes()[:100])
    with pytest.raises(UsageError, match="cannot be read"):
        gankit.open_export(made.path, Tiny)


def test_what_is_there_is_not_replaced_unasked(run, tmp_path):
    path = tmp_path / "tiny.safetensors"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"exists already. Give another name, or --overwrite"):
        run.export(path)
    assert path.read_text() == "mine"
    run.export(path, overwrite=True)
    assert path.stat().st_size > 1000
    with pytest.raises(UsageError, match=r"ends in .onnx, .pt2 or .safetensors"):
        run.export(tmp_path / "tiny.pth")
    with pytest.raises(UsageError, match="there is no directory"):
        run.export(tmp_path / "nowhere" / "tiny.onnx")
    with pytest.raises(UsageError, match="cannot encode"):
        run.export(tmp_path / "tiny.pt2", method="encode")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_differs_is_deleted(run, tmp_path, monkeypatch, overwrite):
    read = pt2_file.runner

    def wrong(path):
        right = read(path)
        return lambda values: right(values) + 0.001 * (len(values["label"]) == 1)

    path = tmp_path / "tiny.pt2"
    if overwrite:
        path.write_text("mine")
    monkeypatch.setattr(pt2_file, "runner", wrong)
    with pytest.raises(GankitError, match=r"was not written: it differs by 0.001 from torch \(one sample, 1 sample of"):
        run.export(path, overwrite=overwrite)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.pt2"] * overwrite
    assert not overwrite or path.read_text() == "mine"
    assert run.export(path, tolerance=0.01, overwrite=True).difference == pytest.approx(0.001, rel=0.1)


def test_a_file_that_cannot_be_run_is_deleted(run, tmp_path, monkeypatch):
    monkeypatch.setattr(pt2_file, "write", lambda program, path, facts: path.write_text("damaged"))
    with pytest.raises(GankitError, match=r"tiny.pt2 was not written: it cannot be run: .+"):
        run.export(tmp_path / "tiny.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_package_is_missing(run, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PluginError, match=rf"needs the package {missing} .*pip install 'gankit\[onnx\]'"):
        run.export(tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())
