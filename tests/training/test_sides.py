"""A training on data of every kind of key, in two streams: moved, resumed, planned."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
import torch
from tiny_gan import SMALL
from torch import nn

from gankit.data.kinds import kind_of
from gankit.errors import UsageError
from gankit.options.resolve import resolve
from gankit.plugin import Config, Dataset, DataSpec, Key, Phase, Variant
from gankit.training.plan import make_plan
from gankit.training.session import Session

KEYS = {
    "a": Key(kind="image", shape=(1, 8, 8)),
    "b": Key(kind="image", shape=(1, 8, 8)),
    "mask": Key(kind="mask", shape=(1, 16, 16), of="a"),
    "box": Key(kind="box", shape=(4,), of="a"),
    "eyes": Key(kind="points", shape=(2, 3), mirror=(1, 0), of="b"),
    "label": Key(kind="class", names=("x", "y"), of="b"),
    "text": Key(kind="text", shape=(6,), of="b"),
    "vector": Key(kind="vector", shape=(2,), of="b"),
}


class Sides(Dataset):
    """Seven made-up samples of one side, three of the other."""

    Config = Config
    keys: ClassVar = KEYS

    @property
    def spec(self):
        return DataSpec(keys=self.keys)

    def streams(self):
        return {"a": 7, "b": 3}

    def batch(self, indices):
        batch = {}
        for name, key in self.keys.items():
            stream = key.of or name
            if stream in indices:
                batch[name] = kind_of(key).made_up(key, 7, torch.Generator().manual_seed(len(name)))[indices[stream]]
        return batch


class Movable(Sides):
    """The same without the vector, of which nobody knows how it moves."""

    keys: ClassVar = {name: key for name, key in KEYS.items() if name != "vector"}


class Sums(Variant):
    """Learns a number from all that a batch holds."""

    dataset = "sides"
    requires = frozenset({"a", "b", "box"})
    produces = ("b",)

    def networks(self, spec):
        return {"net": nn.Linear(len(spec.keys), 1)}

    def phases(self):
        return [Phase(name="net", updates=("net",), loss=self.loss)]

    def loss(self, step):
        rows = [values.flatten(1).float() if values.dim() > 1 else values[:, None] for values in step.batch.values()]
        means = torch.stack([row.float().mean(1) for row in rows], 1)
        return {"loss": (step.networks["net"](means) - step.noise(step.size, 1)).square().mean()}


def make_session(dataset=Movable, **options):
    options = {**SMALL, "batch_size": 4, **options}
    resolved = resolve(Sums, dataset, variant="sums", dataset="sides", options=options)
    return Session(Sums(resolved.options), dataset(resolved.data), resolved)


@pytest.mark.parametrize("augment", [{}, {"flip": True, "crop": 0.25}])
@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_training_on_two_streams_is_the_same(augment, stop):
    whole, first, second = (make_session(augment=augment, workers=workers) for workers in (0, 2, 1))
    for session in (whole, first):
        session.begin()
    for index in range(9):
        whole.train_step(index)
    for index in range(stop):
        first.train_step(index)
    kept = first.checkpoint(stop, 0.0, None)
    kept.state = json.loads(json.dumps(kept.state))
    second.restore(kept)
    for index in range(stop, 9):
        second.train_step(index)
    assert torch.equal(whole.networks["net"].weight, second.networks["net"].weight)
    assert whole.loader.state_dict() == second.loader.state_dict()
    for session in (whole, first, second):
        session.close()


def test_a_plan_names_every_key_and_counts_what_a_batch_takes():
    plan = make_plan(make_session(Sides))
    assert plan.data["eyes"] == "2 points, visible or not"
    assert list(plan.data) == list(KEYS)
    floats = 64 + 64 + 256 + 4 + 6 + 2
    assert plan.memory["batch"] == 4 * (4 * floats + 8 + 6)
    assert plan.memory["activations"] is not None
    assert plan.samples == 7


def test_what_cannot_be_flipped_is_refused_before_anything_is_trained():
    with pytest.raises(UsageError, match=r"augment\.flip must be off for this data: 'vector' describes 'b'"):
        make_session(Sides, augment={"flip": True})
