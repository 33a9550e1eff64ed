"""Fine-tuning: a run that starts from another's weights, and layers that stay as they came."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from torch import nn
from training_helpers import Stop, final, stop_at, train

import gankit
from gankit.api import make_session
from gankit.errors import UsageError
from gankit.events import Note
from gankit.nn import ImagePool, State
from gankit.runs.directory import RunDir
from gankit.training.frozen import layers
from gankit.training.start import read_start, start_of


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return train(tmp_path_factory.mktemp("base"), steps=4, checkpoint_every=2)


def tensors(run, name, part="weights"):
    return run.directory.load(name, (part,)).tensors[part]


def test_starts_where_the_other_ended(tmp_path, base):
    """With the averages where there are any; optimisers, averages and steps begin anew."""
    notes = []
    run = train(tmp_path, init=base.path, steps=2, checkpoint_every=1, keep=9, on_event=notes.append)
    assert next(n.text for n in notes if isinstance(n, Note)) == (
        f"Starts from {base.path}, step-000004: 13 of 13 tensors."
    )
    began, averages = tensors(run, "step-000000"), tensors(base, "latest", "ema")
    for key, value in {**tensors(base, "latest"), **averages}.items():
        assert torch.equal(began[key], value), key
    assert dict(tensors(run, "step-000000", "ema").items()).keys() == averages.keys()
    for key, value in tensors(run, "step-000000", "ema").items():
        assert torch.equal(value, averages[key])
    assert not tensors(run, "step-000000", "optimizers")
    said = json.loads((run.path / "environment.json").read_text())["init"]
    assert said["checkpoint"] == "step-000004"
    assert (run.path / said["run"]).resolve() == base.path.resolve()
    assert run.steps == 2


def test_what_does_not_fit_is_named(tmp_path, base):
    notes = []
    run = train(
        tmp_path, init=base.path / "checkpoints" / "step-000002", steps=1, data=BlobsConfig(size=16),
        on_event=notes.append,
    )  # fmt: skip
    text = next(n.text for n in notes if isinstance(n, Note) and n.text.startswith("Starts"))
    assert text == (
        f"Starts from {base.path}, step-000002: 12 of 13 tensors. New: discriminator.4.weight. "
        "Not taken: discriminator.4.weight."
    )
    assert torch.equal(
        tensors(run, "step-000000")["discriminator.0.weight"], tensors(base, "2")["discriminator.0.weight"]
    )
    with pytest.raises(UsageError, match=r"nothing in .* fits: its networks are generator, discriminator"):
        read_start(base.directory, "latest", {"other": nn.Linear(1, 1)})
    with pytest.raises(UsageError, match="there is no run at"):
        train(tmp_path, init=tmp_path / "nothing")
    assert len(list(tmp_path.glob("*/*"))) == 1


def test_resumes_exactly(tmp_path, base, resumes_exactly):
    resumes_exactly(Tiny, Blobs(BlobsConfig()), **{**SMALL, "init": base.path, "freeze": "discriminator:1", "steps": 4})


def test_killed_before_the_first_checkpoint(tmp_path, base):
    """What it starts from stands in the run, beside which the other may have been moved."""
    options = {"init": base.path, "steps": 3}
    whole = train(tmp_path / "whole", **options)

    def stop(event):
        if isinstance(event, Note) and event.text.startswith("Starts"):
            raise Stop

    with pytest.raises(Stop):
        train(tmp_path / "killed", on_event=stop, **options)
    with pytest.raises(Stop):
        train(tmp_path / "killed", on_event=stop_at(0), **options)
    folder = next((tmp_path / "killed").glob("*"))
    run = RunDir.open(folder)
    for name in run.checkpoints():
        run._remove(run.store / name)
    resumed = gankit.open_run(run.path, Tiny, Blobs).resume()
    assert final(resumed.path, 3) == final(whole.path, 3)


def test_frozen_layers_stay(tmp_path, base):
    run = train(tmp_path, init=base.path, steps=3, freeze=("discriminator:1", "generator:1"))
    was, now = tensors(run, "step-000000"), tensors(run, "latest")
    changed = {key for key in now if not torch.equal(was[key], now[key]) and "running" not in key}
    changed -= {"generator.2.num_batches_tracked"}
    assert changed == {"discriminator.4.weight", "discriminator.4.bias", "generator.5.weight", "generator.5.bias"}


def test_a_layer_has_its_norm_and_its_bias():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, bias=False), nn.PReLU(), nn.Linear(2, 1)
    )
    assert [len(layer) for layer in layers(network)] == [4, 2, 2]


@pytest.mark.parametrize(
    ("freeze", "words"),
    [
        ("discriminator", "write it as NETWORK:N"),
        ("discriminator:0", "write it as NETWORK:N"),
        ("judge:1", "the networks are generator, discriminator"),
        ("discriminator:2", "discriminator has 2 layers that learn: freeze at most 1"),
        ("discriminator:1,discriminator:1", "named twice"),
    ],
)
def test_what_cannot_be_frozen(tmp_path, base, freeze, words):
    with pytest.raises(UsageError, match=words):
        train(tmp_path, init=base.path, freeze=freeze)
    assert not list(tmp_path.glob("*/*"))


class Watched(Tiny):
    """With a network that nothing updates, and what steps have kept."""

    def networks(self, spec):
        watcher = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        return {
            **super().networks(spec),
            "watcher": watcher,
            "seen": State(p=torch.ones(3)),
            "pool": ImagePool(2, (1, 2, 2)),
        }


def test_freezing_that_would_do_nothing_is_refused(tmp_path, base):
    with pytest.raises(UsageError, match=r"freeze = discriminator:1 keeps layers as they came.*--init RUN"):
        train(tmp_path, freeze="discriminator:1")
    with pytest.raises(UsageError, match="no phase updates watcher, and nothing comes of it"):
        train(tmp_path, Watched, init=base.path, freeze="watcher:1")


def test_what_steps_have_kept_is_not_taken(tmp_path):
    first = train(tmp_path, Watched, steps=1)
    session = make_session(Watched, Blobs(BlobsConfig()), **SMALL)
    start = read_start(*start_of(first.path), session.networks)
    assert not {"seen", "pool"} & set(start.weights)
    assert not start.new
    assert not start.unused
    assert not start.whole  # what a state is at the start only `prepare` may know


class Prepared(Tiny):
    """Prepares its generator's last bias."""

    Config = type("PreparedConfig", (Tiny.Config,), {"__doc__": "Prepared."})

    def prepare(self, preparation):
        preparation.report("prepared")
        preparation.networks["generator"][5].bias.data.fill_(7.0)


class Counted(Tiny):
    """Keeps the length of its data, which only its preparation knows."""

    Config = type("CountedConfig", (Tiny.Config,), {"__doc__": "Counted."})

    def networks(self, spec):
        return {**super().networks(spec), "length": State(value=torch.zeros(()))}

    def prepare(self, preparation):
        preparation.networks["length"].value.fill_(len(preparation.train))


def test_a_state_is_that_of_the_new_data(tmp_path):
    first = train(tmp_path / "first", Counted, steps=1)
    run = train(tmp_path, Counted, init=first.path, steps=1, data=BlobsConfig(count=24))
    assert (tensors(first, "latest")["length.value"], tensors(run, "latest")["length.value"]) == (20, 24)


def test_resuming_says_of_init_only_what_is_so(tmp_path, base):
    def said(**options):
        notes = []
        train(tmp_path, steps=1, resume=True, on_event=notes.append, **options)
        return " ".join(event.text for event in notes if isinstance(event, Note))

    assert "Starts from" in said(init=base.path)
    assert "does not take over" not in said(init=base.path)
    assert "does not take over init" in said(init=base.path / "checkpoints" / "step-000002")


def test_what_came_along_is_not_prepared_anew(tmp_path):
    first = train(tmp_path / "first", Prepared, steps=1, ema=0)
    for data, whole in ((BlobsConfig(), True), (BlobsConfig(size=16), False)):
        notes = []
        run = train(tmp_path, Prepared, init=first.path, steps=1, ema=0, data=data, on_event=notes.append)
        assert any(isinstance(n, Note) and n.text == "prepared" for n in notes) is not whole
        bias = tensors(first, "latest")["generator.5.bias"]
        assert bias != 7
        assert torch.equal(tensors(run, "step-000000")["generator.5.bias"], bias)
