"""What is shared is a run again: the same samples, of every variant, and training goes on."""

from __future__ import annotations

import pytest
import torch
from shared_runs import drawn, made_run, tensors_of

import gankit
from gankit.discovery.entry_points import variants

CASES: dict[str, tuple[dict[str, object], ...]] = {
    "cyclegan": ({"network": "unet", "doubling": "deconv"},),
    "r3gan": ({"conditional": True},),
    "stackgan": ({"stage": 1}, {"stage": 2}),
}


def cases():
    for name in variants():
        for options in CASES.get(name, ({},)):
            yield pytest.param(name, options, id="-".join([name, *map(str, options.values())]))


@pytest.mark.parametrize(("name", "options"), list(cases()))
def test_every_variant(name, options, tmp_path):
    run = made_run(name, tmp_path / "runs", **options)
    data = run._source.open(run.config.data, "train")
    run.export_directory(tmp_path / "shared")
    again = gankit.import_run(tmp_path / "shared", out=tmp_path / "elsewhere")
    theirs, ours = drawn(again, data), drawn(run, data)
    assert torch.equal(theirs, ours)
    assert ours.std() > 0.001
    before, after = tensors_of(run), tensors_of(again)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert (again.steps, again.spec) == (7, run.spec)
    card = (tmp_path / "shared" / "README.md").read_text()
    assert f"# shared\n\n`{name}`" in card
    assert str(tmp_path) not in card
    loaded = gankit.open_export(tmp_path / "shared" / "model.safetensors")  # it is one of these, too
    assert loaded.networks.keys() == run.networks(device="cpu").keys()
