"""A plugin that says nothing of exports is exported; what cannot be is said in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from every_variant import enliven
from torch import nn
from torch.nn import functional as F

import gankit
from gankit.data.made_up import MadeUp
from gankit.errors import PluginError
from gankit.export import export, onnx_file, pt2_file
from gankit.export.compare import difference
from gankit.export.job import Job
from gankit.nn import InstanceNormAct2d, LeakyReLU
from gankit.plugin import DataSpec, Key, Variant

onnxruntime = pytest.importorskip("onnxruntime")
IMAGE = Key(kind="image", shape=(3, 8, 12))


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
