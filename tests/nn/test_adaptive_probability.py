"""Adaptive discriminator augmentation: when p moves, how far, and that it comes back."""

from __future__ import annotations

import pytest
import torch

from gankit.nn import AdaptiveProbability


def test_p_follows_the_mean_sign_every_so_many_calls() -> None:
    ada = AdaptiveProbability(target=0.6, images=80, every=2)
    sure, unsure = torch.full((8,), 3.0), torch.tensor([1.0, -2.0] * 4)
    seen = []
    for logits in (sure, sure, sure, unsure, unsure, unsure):
        ada.adapt(logits)
        seen.append(round(float(ada.p), 4))
    # 16 images of 80 a change: 1 > 0.6; (1 + 0) / 2 and 0 are below
    assert seen == [0, 0.2, 0.2, 0, 0, 0]


def test_p_stays_a_probability() -> None:
    ada = AdaptiveProbability(images=1, every=1, start=0.5)
    for sign, end in ((1.0, 1.0), (-1.0, 0.0)):
        for _ in range(3):
            ada.adapt(torch.full((4, 1), sign))
        assert ada.p == end


def test_batches_count_by_their_size_and_maps_by_their_mean() -> None:
    ada = AdaptiveProbability(target=0.0, images=100, every=2)
    ada.adapt(torch.full((9,), 1.0))
    ada.adapt(torch.full((1,), -1.0))
    assert float(ada.p) == pytest.approx(0.1)
    ada = AdaptiveProbability(target=0.0, images=100, every=1)
    ada.adapt(torch.tensor([1.0, 1.0, -1.0, 1.0]).view(1, 1, 2, 2))
    assert float(ada.p) == pytest.approx(0.01)  # one image


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_any_type_and_none_at_all(dtype: torch.dtype) -> None:
    ada = AdaptiveProbability(images=10, every=1)
    ada.adapt(torch.zeros(0, dtype=dtype))
    assert ada.calls == 0
    ada.adapt(torch.ones(2, dtype=dtype, requires_grad=True))
    assert float(ada.p) == pytest.approx(0.2)
    assert ada.p.dtype is torch.float32
    assert not ada.p.requires_grad


def test_what_was_saved_goes_on_as_if_it_had_not_stopped() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(5, generator=generator) + 1 for _ in range(20)]
    whole, first, second = (AdaptiveProbability(images=300, every=3) for _ in range(3))
    for batch in batches:
        whole.adapt(batch)
    for batch in batches[:10]:
        first.adapt(batch)
    second.load_state_dict(first.state_dict())
    for batch in batches[10:]:
        second.adapt(batch)
    assert float(whole.p) > 0
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    assert not list(whole.parameters())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": 1.0}, "target must be between -1 and 1, not 1.0"),
        ({"target": float("nan")}, "target must be between -1 and 1"),
        ({"images": 0}, r"images \(0\)"),
        ({"images": float("inf")}, r"images \(inf\)"),
        ({"every": 0}, r"every \(0\)"),
        ({"start": 1.5}, "start must be from 0 to 1, not 1.5"),
    ],
)
def test_odd_settings_are_refused(options: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AdaptiveProbability(**options)
