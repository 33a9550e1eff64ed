"""What is exported is what is sampled: of a run, of a plugin that nobody knows, in each format; and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from every_variant import enliven
from safetensors import safe_open
from tiny_gan import Blobs, BlobsConfig, Tiny
from torch import nn
from torch.nn import functional as F

import gankit
from gankit.data.made_up import MadeUp
from gankit.device import make_generator
from gankit.errors import GankitError, PluginError, UsageError
from gankit.export import export, onnx_file, pt2_file
from gankit.export.compare import difference
from gankit.export.job import CPU, Job
from gankit.nn import InstanceNormAct2d, LeakyReLU
from gankit.plugin import DataSpec, Key, Variant

onnxruntime = pytest.importorskip("onnxruntime")
IMAGE = Key(kind="image", shape=(3, 8, 12))


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


class Embedder(nn.Module):
    """What no file can hold: it reads bytes in Python."""

    outside = True

    def forward(self, text):
        return torch.tensor([[float(sum(row)) % 7, len(row)] for row in text.tolist()])


class Network(nn.Module):
    """Layers of gankit's, noise of its own, and a batch that it counts with len."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.ConvTranspose2d(6, 3, 2, 2)
        self.act, self.norm = LeakyReLU(0.2, channels=6), InstanceNormAct2d(6, affine=True, negative_slope=0.1)
        self.told = nn.Linear(7, 6)

    def forward(self, image, told, generator):
        x = self.norm(self.act(self.first(image)))
        x = x * (torch.rand(x.shape, generator=generator).mul_(2).sub_(1) > -0.6)
        shift = torch.randint(0, 3, (len(x),), generator=generator).float()
        return torch.tanh(self.second(x + (self.told(told) + shift[:, None])[:, :, None, None]))


class Strange(Variant):
    """A plugin that says nothing of exports."""

    produces = ("photo",)

    def networks(self, spec):
        return {"draw": Network(), "text": Embedder(), "judge": nn.Linear(2, 2)}

    def phases(self):
        return []

    def asks(self, spec, produces):
        keys = {"photo": spec["photo"], "a-class": Key(kind="class", names=("x", "y", "z"))}
        return {**keys, "text": Key(kind="text", shape=(9,)), "numbers": Key(kind="vector", shape=(2,))}

    def sample(self, networks, request):
        batch = request.batch
        one = F.one_hot(batch["a-class"], 3).float()
        told = torch.cat([one, networks["text"](batch["text"]), batch["numbers"] + 0 * request.noise(len(one), 2)], 1)
        return networks["draw"](batch["photo"], told, request.generator)


def job_of(kind, spec=None):
    variant, spec = kind(kind.Config()), spec or DataSpec(keys={"photo": IMAGE})
    networks = variant.networks(spec)
    for network in networks.values():
        enliven(network)
        network.eval().requires_grad_(False)
    return Job.make(variant, networks, spec)


def rows_of(job):
    return lambda: [MadeUp(job.spec, 8)]


SHAPES = {
    "embedding": ["batch", "2"],
    "noise_1": ["batch", "6", "height/2", "width/2"],
    "noise_2": ["batch"],
    "photo": ["batch", "3", "height", "width"],
    "a_class": ["batch"],
    "numbers": ["batch", "2"],
}


def test_a_plugin_of_a_stranger(tmp_path):
    job = job_of(Strange)
    made = export(job, tmp_path / "strange.onnx", rows_of(job), {"variant": "strange"})
    # noise that is multiplied with nothing, and captions that are read outside, are no inputs
    assert {one["name"]: one["shape"] for one in made.inputs} == SHAPES
    assert made.inputs[0]["kind"] == "embedding"
    assert {(one.what, one.n, one.sides) for one in made.compared} >= {("real", 3, (8, 12)), ("large", 1, (18, 12))}
    session = onnxruntime.InferenceSession(str(made.path))
    assert [one.name for one in session.get_inputs()] == list(SHAPES)
    assert session.get_outputs()[0].shape == ["batch", 3, "height", "width"]

    import onnx

    kinds = {node.op_type for node in onnx.load(made.path).graph.node}
    assert {"InstanceNormalization", "LeakyRelu", "Conv", "ConvTranspose"} <= kinds
    assert {opset.domain for opset in onnx.load(made.path).opset_import} == {""}


def test_a_program_needs_no_gankit(tmp_path):
    job = job_of(Strange)
    made = export(job, tmp_path / "strange.pt2", rows_of(job), {}, size=(8, 8))
    assert made.inputs[3]["shape"] == ["batch", "3", "8", "8"]
    extra = {pt2_file.FACTS: ""}
    program = torch.export.load(made.path, extra_files=extra)
    assert json.loads(extra[pt2_file.FACTS])["inputs"] == made.inputs
    ops = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert {op.namespace for op in ops if hasattr(op, "namespace")} == {"aten"}
    assert not any("judge" in name for name in program.state_dict)
    assert str(Path(gankit.__file__).parent).encode() not in made.path.read_bytes()


def test_weights_beside_a_network_that_has_none(tmp_path):
    job = job_of(Strange)
    made = export(job, tmp_path / "strange.safetensors", rows_of(job), {"variant": "strange", "options": {}})
    assert made.difference == 0
    assert {"draw", "text"} <= gankit.open_export(made.path, Strange).networks.keys()


class Folded(Strange):
    """Weights of which something is computed each time."""

    def networks(self, spec):
        return {"draw": nn.Linear(4, 4)}

    def asks(self, spec, produces):
        return {}

    def sample(self, networks, request):
        weight = networks["draw"].weight
        root = torch.linalg.cholesky(weight @ weight.T + torch.eye(4))
        pixels = request.noise(request.n, 4) @ root
        return pixels[:, :3, None, None].expand(-1, 3, 8, 12).clamp(-1, 1)


def test_what_comes_of_weights_alone_is_computed_once(tmp_path):
    job = job_of(Folded)
    assert export(job, tmp_path / "folded.onnx", rows_of(job), {}).difference < 1e-5


class Chosen(Folded):
    def sample(self, networks, request):
        noise = request.noise(request.n, 3)
        return (-noise if noise.mean() > 0 else noise)[:, :, None, None].expand(-1, 3, 8, 12).clamp(-1, 1)


class Dropped(Folded):
    def sample(self, networks, request):
        return F.dropout(super().sample(networks, request), 0.5, training=True)


class Repeated(Folded):
    turns = 0

    def sample(self, networks, request):
        self.turns += 1
        return sum(request.noise(request.n, 3) for _ in range(self.turns))[:, :, None, None].expand(-1, 3, 8, 12)


REFUSED = {
    Chosen: "Chosen cannot be exported: ",
    Dropped: "Dropped cannot be exported: it draws random numbers by aten.dropout",
    Repeated: "Repeated cannot be exported: what it draws is another number of tensors each time",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_exported_says_so_in_a_line(tmp_path, kind):
    job = job_of(kind)
    with pytest.raises(PluginError) as failure:
        export(job, tmp_path / "refused.pt2", rows_of(job), {})
    assert str(failure.value).startswith(REFUSED[kind])
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 400
    assert not list(tmp_path.iterdir())


def test_differences():
    ones = torch.ones(2, 3)
    assert difference(ones, ones) == 0
    assert difference(ones + 0.5, ones) == 0.5
    assert difference(20 * ones, 10 * ones) == 1  # of numbers above 1, in parts of the largest
    assert difference(ones[:1], ones) == torch.inf
    assert difference(ones * torch.nan, ones) == torch.inf
    assert difference(ones * torch.nan, ones * torch.nan) == 0


def test_onnx_is_told_from_other_failures(tmp_path):
    """An operator that ONNX has not."""

    class Sorted(Folded):
        def sample(self, networks, request):
            return torch.linalg.eigvalsh(super().sample(networks, request)[..., :8, :8])[..., None]

    job = job_of(Sorted)
    with pytest.raises(PluginError, match=r"Sorted cannot be exported to ONNX: No ONNX function found for .*eigh"):
        export(job, tmp_path / "sorted.onnx", rows_of(job), {})
    assert not list(tmp_path.iterdir())
    assert onnx_file.check_installed() is None
