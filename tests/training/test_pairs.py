"""A variant that learns from pairs is given pairs, or says why it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gankit
from gankit.check.data import stand_in
from gankit.errors import UsageError
from gankit.plugin import Config, Dataset, DataSpec, Key, Phase, Variant

IMAGE = Key(kind="image", shape=(1, 8, 8))


class Sides(Dataset[Config]):
    """Rows of a and b: b is the negative of a."""

    aligned, apart = True, False

    @property
    def spec(self):
        return DataSpec(keys={"a": IMAGE, "b": Key(kind="image", shape=(1, 8, 8), of="a" if self.aligned else None)})

    def streams(self):
        return {"a": 12, "b": 9} if self.apart else {"": 12}

    def batch(self, indices):
        rows = indices if self.apart else {"a": indices, "b": indices}
        found = {
            name: (i * 20).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 8, 8) + torch.arange(8, dtype=torch.uint8)
            for name, i in rows.items()
        }
        return {name: 255 - images if name == "b" else images for name, images in found.items()}


class Unaligned(Sides):
    aligned = False


class Apart(Sides):
    aligned, apart = False, True


class ApartAndAligned(Sides):
    apart = True


class Paired(Variant[Config]):
    dataset, requires, paired, produces, random = "sides", frozenset({"a", "b"}), ("a", "b"), ("b",), False

    def networks(self, spec):
        return {"net": nn.Conv2d(1, 1, 1)}

    def phases(self):
        def loss(step):
            a, b = step.batch["a"], step.batch["b"]
            assert torch.allclose(a, -b, atol=1e-5), "torn apart"
            return {"l1": (step.networks["net"](a) - b).abs().mean()}

        return [Phase(name="net", updates=("net",), loss=loss)]

    def asks(self, spec, produces):
        return {"a": spec["a"]}

    def sample(self, networks, request):
        return networks["net"](request.batch["a"])


SMALL = {"steps": 4, "batch_size": 4, "sample_n": 2, "device": "cpu"}


def test_pairs_stay_pairs_under_flips(tmp_path):
    assert gankit.train(Paired, Sides(Config()), out=tmp_path, **SMALL, augment={"flip": True, "crop": 0.2}).finished


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Apart, "dataset 'apart' draws its a and b independently of each other, and Paired learns from pairs"),
        (ApartAndAligned, "draws its a and b independently of each other"),
        (Unaligned, r"does not say that its a and b are aligned \(the key 'b' with of='a'\), and Paired learns from"),
    ],
)
def test_what_is_no_pairs_is_refused_before_anything_is_written(tmp_path, data, words):
    with pytest.raises(UsageError, match=words):
        gankit.train(Paired, data(Config()), out=tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_made_up_data_of_the_check_has_pairs():
    spec = stand_in(Paired).spec
    assert spec.images == ("a", "b")
    assert spec.moves_with("b") == "a"
