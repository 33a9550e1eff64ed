"""What lies between two codes."""

from __future__ import annotations

import pytest
import torch
from changers import Encoder, Negative
from training_helpers import train

from gankit.errors import UsageError
from gankit.plugin import Key
from gankit.sampling.interpolate import arc


def test_an_arc_keeps_the_length_of_codes():
    torch.manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(5, 2, 8).flatten(1)).view(5, 2, 8) for _ in range(2))
    for at in (0.0, 0.25, 0.5, 1.0):
        assert torch.allclose(arc(a, b, at).flatten(1).norm(dim=1), torch.ones(5), atol=1e-5)
    assert torch.allclose(arc(a, b, 0.0), a, atol=1e-6)
    assert torch.allclose(arc(a, b, 1.0), b, atol=1e-6)
    assert torch.allclose(arc(a, a, 0.3), a, atol=1e-6)
    assert arc(a, -a, 0.3).isfinite().all()
    assert arc(torch.zeros(1, 4), torch.ones(1, 4), 0.5).isfinite().all()


def test_rows_go_from_code_to_code(tmp_path):
    run = train(tmp_path, Encoder, steps=1, sample_n=2)
    samples = run.interpolate(rows=3, frames=5, seed=2)
    assert samples.images.shape == (15, 1, 8, 8)
    assert samples.layout.columns == 5
    assert [(r["row"], r["at"]) for r in samples.records[4:6]] == [(0, 1.0), (1, 0.0)]
    ends = run.sample(6, seed=2).images  # the same codes, one after another
    rows = samples.images.view(3, 5, 1, 8, 8)
    assert torch.allclose(rows[:, 0], ends[:3], atol=1e-5)
    assert torch.allclose(rows[:, -1], ends[3:], atol=1e-5)
    assert torch.equal(run.interpolate(rows=3, frames=5, seed=2).images, samples.images)

    images = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)])
    between = run.interpolate(images, frames=3)
    assert between.images[:, 0, 0, 0].tolist() == pytest.approx([-1, -0.5, 0, 0, 0.5, 1])
    assert (between.records[3]["from"], between.records[3]["to"]) == (1, 2)
    for wrong, words in (
        ({"images": images[:1]}, "two images or more, got 1"),
        ({"frames": 1}, "frames must be at least 2"),
        ({"rows": 0}, "rows must be at least 1"),
    ):
        with pytest.raises(UsageError, match=words):
            run.interpolate(**wrong)


def test_what_decode_draws_beside_the_codes_does_not_flicker(tmp_path):
    class Grainy(Encoder):
        def decode(self, networks, codes, request):
            return request.noise(request.n, 1, 8, 8).clamp(-1, 1)

    rows = train(tmp_path, Grainy, steps=1, sample_n=2).interpolate(rows=2, frames=3).images.view(2, 3, -1)
    assert torch.equal(rows[:, 0], rows[:, 2])
    assert not torch.equal(rows[0], rows[1])


def test_a_way_through_several_images_does_not_jump_where_one_leg_ends(tmp_path):
    """Neither by what decode() draws beside the codes, nor by what is asked for and was not given."""

    class Grainy(Encoder):
        def asks(self, spec, produces):
            return {"label": spec["label"], "box": Key(kind="box", shape=(4,))}

        def decode(self, networks, codes, request):
            label, box = request.batch["label"], request.batch.get("box", torch.zeros(request.n, 4))
            told = 0.1 * label.view(-1, 1, 1, 1) + 0.3 * box[:, :1, None, None]
            return (super().decode(networks, codes, request) + told + 0.2 * request.noise(request.n, 1, 8, 8)) / 4

    run = train(tmp_path, Grainy, steps=1, sample_n=2)
    images = torch.linspace(-1, 1, 4).view(4, 1, 1, 1).expand(-1, 1, 8, 8)
    between = run.interpolate(images, frames=3, given={"box": ["0,0,1,1"]})
    rows = between.images.view(3, 3, -1)
    assert torch.equal(rows[:-1, 2], rows[1:, 0])
    assert not torch.equal(rows[:, 0], rows[:, 1])
    assert len({record["label"] for record in between.records}) == 1
    assert [record["from"] for record in between.records[::3]] == [0, 1, 2]
    # what is given for each leg is asked of it
    given = run.interpolate(images, frames=2, given={"box": ["0,0,1,1", ".5,0,1,1", "0,0,1,1"]}).records
    assert [record["box"][0] for record in given[::2]] == [0, 0.5, 0]


def test_what_cannot(tmp_path):
    class Blind(Encoder):
        encode = Negative.encode

    run = train(tmp_path, Negative, steps=1, sample_n=2)
    with pytest.raises(UsageError, match="Negative cannot interpolate: it draws from no codes"):
        run.interpolate()
    with pytest.raises(UsageError, match="Blind cannot interpolate between images: it does not encode"):
        train(tmp_path, Blind, steps=1, sample_n=2).interpolate(torch.zeros(2, 1, 8, 8))


def test_a_few_codes_are_decoded_at_once(tmp_path, monkeypatch):
    sizes = []

    class Counted(Encoder):
        def decode(self, networks, codes, request):
            sizes.append((len(codes), request.n))
            return super().decode(networks, codes, request)

    run = train(tmp_path, Counted, steps=1, sample_n=2)
    whole = run.interpolate(rows=5, frames=2).images
    images = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(-1, 1, 8, 8)
    between = run.interpolate(images, frames=2).images
    monkeypatch.setattr("gankit.sampling.draw.BATCH", 2)
    sizes.clear()
    assert torch.allclose(run.interpolate(images, frames=2).images, between)
    assert sizes == [(1, 1)] * 8  # each leg by itself: all have the same random numbers
    sizes.clear()
    assert run.interpolate(rows=5, frames=2).images.shape == whole.shape
    assert max(sizes) == (2, 2)
