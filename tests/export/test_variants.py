"""Every variant that ships becomes an ONNX file that agrees with torch, at several batch sizes and image sizes."""

from __future__ import annotations

import json
import os

import pytest
import torch
from every_variant import lively

from gankit.data.text import decode_text
from gankit.discovery.entry_points import variants
from gankit.export import export, open_export
from gankit.export.job import CPU, Job, asked
from gankit.sampling.drawer import Drawer

onnxruntime = pytest.importorskip("onnxruntime")

CASES: dict[str, tuple[dict[str, object], ...]] = {
    "ae": ({}, {"method": "reconstruct"}),
    "cgan": ({}, {"preset": "conv"}),
    "cyclegan": ({"to": "b"}, {"to": "a"}, {"to": "b", "network": "unet", "doubling": "deconv"}),
    "inpaint": ({}, {"spread": False}, {"preset": "context-encoder"}),
    "pix2pix": ({}, {"data.size": 64, "norm": "batch"}),
    "r3gan": ({}, {"conditional": True}),
    "stackgan": ({"stage": 1, "truncation": 1.0}, {"stage": 2}),
    "vae": ({}, {"method": "encode"}, {"method": "reconstruct"}),
}
"""Options of which a variant has more than its default, those of the export among them."""
TRANSLATORS = ("cut", "cycada", "cyclegan", "pix2pix", "stargan")
"""Their networks take images of several sizes; `inpaint` decides by the size how often it spreads colours."""
ALWAYS = ("cyclegan-b", "infogan", "pix2pix-64-batch", "stackgan-1-1.0")
"""What stands for the rest where there is little time: a map in, codes, dropout that is noise, text."""


def cases():
    both = ((name, options) for name in variants() for options in CASES.get(name, ({},)))
    for name, options in both:
        case = "-".join([name, *map(str, options.values())])
        rare = pytest.mark.skipif("GANKIT_EXPORT" not in os.environ and case not in ALWAYS, reason="GANKIT_EXPORT=1")
        yield pytest.param(name, options, id=case, marks=rare)


@pytest.mark.parametrize(("name", "options"), list(cases()))
def test_every_variant(name, options, tmp_path):
    options = dict(options)
    to, method = options.pop("to", None), options.pop("method", "sample")
    variant, networks, spec, data = lively(name, **options)
    job = Job.make(variant, networks, spec, method, to)
    path = tmp_path / "made.onnx"
    made = export(job, path, lambda: [data], {"variant": name})
    assert {one.n for one in made.compared} >= {1, 2, 3}
    assert made.difference < 1e-4
    tried = {one.what for one in made.compared}
    assert (name in TRANSLATORS or options.get("spread") is False) == ({"large", "small"} <= tried), made.note

    session = onnxruntime.InferenceSession(str(path))
    assert [one.name for one in session.get_inputs()] == [one["name"] for one in made.inputs]
    assert [one.shape[0] for one in session.get_inputs()] == ["batch"] * len(made.inputs)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["inputs"]) == made.inputs
    job, batch, _ = asked(job, 3, lambda: [data])
    assert job.run(3, batch)[0].std() > 0.01  # else it would not matter what becomes of what


@pytest.mark.parametrize(
    ("name", "options"),
    [("gawwn", {}), ("stackgan", {"stage": 1}), ("stackgan", {"stage": 2}), ("stackgan", {"stage": 1, "match": 1.0})],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_weights_of_those_that_read_captions(name, options, tmp_path):
    """The encoder is among the weights: what is loaded again draws the same of captions that nobody trained on."""
    variant, networks, spec, data = lively(name, **options)
    facts = {"variant": name, "options": variant.config.model_dump(mode="json")}
    job = Job.make(variant, networks, spec)
    export(job, tmp_path / "made.safetensors", lambda: [data], facts)
    loaded = open_export(tmp_path / "made.safetensors")
    asked = job.rows(4, lambda: [data])[0]
    captions = decode_text(asked["text"])
    given = {"text": captions, **{key: rows for key, rows in asked.items() if key != "text"}}
    drawer = Drawer(variant, networks, spec, lambda: (), CPU)
    mine = drawer.samples(drawer.ask(4, given=given, seed=5), None, seed=5)
    theirs = loaded.sample(4, given=given, seed=5)
    assert torch.equal(theirs.values, mine.values)
    assert mine.values.std() > 0.001
    assert not torch.equal(loaded.sample(4, given={**given, "text": captions[::-1]}, seed=5).values, mine.values)
