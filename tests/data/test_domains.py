"""Dataset ``domains``: two datasets as the sides of a translation."""

from __future__ import annotations

import pytest
import torch

from gankit.data.domains import Domains, DomainsConfig
from gankit.data.faults import spec_fault
from gankit.errors import UsageError


def opened(**options: object) -> Domains:
    return Domains(DomainsConfig(**{"first": "digits", "second": "mnist", **options}))


def test_two_sides_in_streams_of_their_own() -> None:
    data = opened(size=32)
    assert dict(data.streams()) == {"a": 1442, "b": 4000}
    assert spec_fault(data.spec) == ""
    assert {name: key.like for name, key in data.spec.keys.items() if key.kind == "class"} == {
        "label_a": "label_b",
        "label_b": "label_a",
    }
    batch = data.batch({"a": torch.arange(5), "b": torch.tensor([3999])})
    assert batch["a"].shape == (5, 1, 32, 32)
    assert batch["b"].shape == (1, 1, 32, 32)
    assert data.fingerprint().startswith("a ")


def test_grey_beside_colour_is_in_colour() -> None:
    data = opened(first="digits", second="emoji-faces", size=32)
    batch = data.batch({"a": torch.arange(2)})
    assert batch["a"].shape == (2, 3, 32, 32)
    assert torch.equal(batch["a"][:, 0], batch["a"][:, 2])
    assert data.spec["label_a"].like is None  # other classes


def test_every_second_sample_of_one_side() -> None:
    whole, half = opened(), opened(first_half=True)
    assert half.streams()["a"] == 721
    index = torch.tensor([0, 5, 720])
    assert torch.equal(half.batch({"a": index})["a"], whole.batch({"a": 2 * index})["a"])
    assert half.streams()["b"] == whole.streams()["b"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"first": ""}, r"data\.first: name a dataset \(--data\.first mnist\)"),
        (
            {"size": 8, "second": "street-digits"},
            r"data\.size = 8 is none of street-digits's: .*greater than or equal to 16",
        ),
        ({"second": "nonsense"}, "unknown dataset 'nonsense'"),
        ({"first": "domains"}, "made of two datasets itself"),
        ({"first": "dressed-digits"}, "one image a sample, not of a, b"),
        ({"first": "densities"}, "one image a sample, not of none"),
        ({"first_root": "/tmp"}, "digits reads no directory"),
    ],
)
def test_what_is_no_side_is_said(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        opened(**options)
