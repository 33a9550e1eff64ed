"""Published sizes, the layer lists in plain torch, the attention patch by patch, and what cannot be built."""

from __future__ import annotations

import pytest
import torch
from gankit_plugin_inpaint import Inpaint
from gankit_plugin_inpaint.attention import SHARPNESS, contextual_attention, propagate
from gankit_plugin_inpaint.config import InpaintConfig
from gankit_plugin_inpaint.context_encoder import CentreDiscriminator, CentreFiller
from gankit_plugin_inpaint.gated import GatedFiller, PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.errors import UsageError
from gankit.plugin import DataSpec, Key


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Rounding is the same at each run."""
    torch.manual_seed(0)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def spec(height: int = 64, width: int = 64, channels: int = 3, name: str = "image") -> DataSpec:
    return DataSpec(keys={name: Key(kind="image", shape=(channels, height, width))})


def of_preset(name: str) -> InpaintConfig:
    return InpaintConfig(**{k: v for k, v in Inpaint.presets[name].items() if k in InpaintConfig.model_fields})


def test_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        paper = Inpaint(of_preset("paper")).networks(spec(256, 256))
        centre = Inpaint(of_preset("context-encoder")).networks(spec(128, 128))
    assert count(paper["filler"]) == 4_052_478
    assert {name: count(network) for name, network in centre.items()} == {
        "filler": 71_130_531,
        "discriminator": 2_766_529,
    }


def gated(conv: nn.Conv2d, x: Tensor, act: str = "elu") -> Tensor:
    value, gate = conv(x).chunk(2, 1)
    return getattr(F, act)(value) * gate.sigmoid()


def listed(width: int, channels: int) -> dict[str, list[tuple[int, int, int, int, int]]]:
    """The convolutions of each part: inputs, outputs, kernel, stride, dilation."""
    w, h = width, width // 2  # what goes in is half of what came out before
    dilated = [(4 * h, 4 * w, 3, 1, d) for d in (2, 4, 8, 16)]
    decoder = [(4 * h, 4 * w, 3, 1, 1), (4 * h, 2 * w, 3, 1, 1), (2 * h, 2 * w, 3, 1, 1), (2 * h, w, 3, 1, 1)]
    decoder += [(h, h, 3, 1, 1), (h // 2, channels, 3, 1, 1)]
    same = (4 * h, 4 * w, 3, 1, 1)
    return {
        "coarse": [
            (channels + 2, w, 5, 1, 1),
            (h, 2 * w, 3, 2, 1),
            (2 * h, 2 * w, 3, 1, 1),
            (2 * h, 4 * w, 3, 2, 1),
            *[same] * 2,
            *dilated,
            same,
            *decoder,
        ],
        "dilated": [
            (channels, w, 5, 1, 1),
            (h, w, 3, 2, 1),
            (h, 2 * w, 3, 1, 1),
            (2 * h, 2 * w, 3, 2, 1),
            (2 * h, 4 * w, 3, 1, 1),
            same,
            *dilated,
        ],
        "before": [(channels, w, 5, 1, 1), (h, w, 3, 2, 1), (h, 2 * w, 3, 1, 1), (2 * h, 4 * w, 3, 2, 1), same, same],
        "after": [same, same],
        "joined": [(8 * h, 4 * w, 3, 1, 1), *decoder],
    }


def same_weights(one: nn.Module, other: nn.Module) -> None:
    """Every parameter drawn at random, and the same in both."""
    mine, theirs = list(one.parameters()), list(other.parameters())
    assert [p.shape for p in mine] == [p.shape for p in theirs]
    with torch.no_grad():
        for p, q in zip(mine, theirs, strict=True):
            p.add_(torch.randn_like(p) * 0.05)
            q.copy_(p)


def decoded(convs: list[nn.Conv2d], x: Tensor) -> Tensor:
    for conv in convs[:-5]:
        x = gated(conv, x)
    for i, conv in enumerate(convs[-5:-1]):
        x = gated(conv, F.interpolate(x, scale_factor=2) if i in (0, 2) else x)
    return convs[-1](x).tanh()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40)])
def test_filler_is_the_listed_one(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = GatedFiller(3, 8)
    parts = {
        name: nn.ModuleList(nn.Conv2d(i, o, k, s, d * (k // 2), d) for i, o, k, s, d in rows)
        for name, rows in listed(8, 3).items()
    }
    for name, part in parts.items():
        same_weights(getattr(network, name), part)
    images = torch.rand(2, 3, height, width) * 2 - 1
    mask = torch.zeros(2, 1, height, width)
    mask[0, :, 5:17, 3:11] = mask[1, :, :9, 20:] = 1
    got = network(images, mask)
    known = images * (1 - mask)
    convs = {name: list(part) for name, part in parts.items()}
    coarse = decoded(convs["coarse"], torch.cat([known, torch.ones_like(mask), mask], 1))
    given = dilated = before = torch.where(mask > 0, coarse, images)
    for conv in convs["dilated"]:
        dilated = gated(conv, dilated)
    for i, conv in enumerate(convs["before"]):
        before = gated(conv, before, "relu" if i == 5 else "elu")
    after = contextual_attention(before, F.max_pool2d(mask, 4))
    for conv in convs["after"]:
        after = gated(conv, after)
    fine = decoded(convs["joined"], torch.cat([dilated, after], 1))
    for mine, theirs in zip(got, (coarse, fine), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    assert given.shape == images.shape


def test_hidden_pixels_count_for_nothing() -> None:
    for network in (GatedFiller(3, 8).eval(), CentreFiller(3, 3, 4, 8, overlap=1).eval()):
        images, mask = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
        mask[:, :, 9:23, 9:23] = 1
        with torch.no_grad():
            one, other = network(images, mask), network(torch.where(mask > 0, torch.rand(2, 3, 32, 32), images), mask)
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(torch.where(mask > 0, a, 0), torch.where(mask > 0, b, 0))


def attention_by_hand(features: Tensor, hidden: Tensor) -> Tensor:
    """One image, patch by patch: the formulas of the paper in loops."""
    channels, height, width = features.shape
    h, w = height // 2, width // 2
    small = F.pad(features[:, ::2, ::2], (1, 1, 1, 1))
    places = [(y, x) for y in range(h) for x in range(w)]
    patch = {(y, x): small[:, y : y + 3, x : x + 3].flatten() for y, x in places}
    hole = F.pad(F.max_pool2d(hidden[None], 2)[0, 0], (1, 1, 1, 1))
    known = [(y, x) for y, x in places if not hole[y : y + 3, x : x + 3].any()]

    def cosine(b: tuple[int, int], f: tuple[int, int]) -> float:
        if b not in patch or f not in patch:
            return 0.0
        return float(F.cosine_similarity(patch[b], patch[f], dim=0))

    def beside(b: tuple[int, int], f: tuple[int, int]) -> float:
        steps = (-1, 0, 1)
        return sum(cosine((b[0] + v, b[1] + u), (f[0] + v, f[1] + u)) for u in steps for v in steps)

    total, times = torch.zeros(channels, height + 2, width + 2), torch.zeros(height + 2, width + 2)
    whole = F.pad(features, (1, 1, 1, 1))
    for f in places:
        scores = torch.tensor([beside(b, f) for b in known])
        weights = (SHARPNESS * scores).softmax(0)
        y, x = 2 * f[0], 2 * f[1]
        for weight, (v, u) in zip(weights, known, strict=True):
            total[:, y : y + 4, x : x + 4] += weight * whole[:, 2 * v : 2 * v + 4, 2 * u : 2 * u + 4]
        times[y : y + 4, x : x + 4] += 1
    return (total / times)[:, 1:-1, 1:-1]


@pytest.mark.parametrize(("height", "width"), [(10, 12), (12, 8)])
def test_attention_is_that_of_the_paper(height: int, width: int) -> None:
    torch.manual_seed(0)
    features, hidden = torch.randn(2, 3, height, width), torch.zeros(2, 1, height, width)
    hidden[0, :, 2:4, 3:6] = 1
    hidden[1, :, 0, 0] = 1
    got = contextual_attention(features, hidden)
    for one in range(2):
        torch.testing.assert_close(got[one], attention_by_hand(features[one], hidden[one]), rtol=1e-4, atol=1e-4)


def test_attention_copies_what_is_like_the_surroundings() -> None:
    """Stripes with a hole in one of them: the hole gets stripes."""
    stripes = (torch.arange(32) // 4 % 2 * 2.0 - 1).view(1, 1, 1, 32).expand(1, 1, 32, 32)
    rows = torch.linspace(0, 1, 32).view(1, 1, 32, 1).expand(1, 1, 32, 32)
    features, hidden = torch.cat([stripes, rows.clone()], 1), torch.zeros(1, 1, 32, 32)
    hidden[:, :, 14:18, 12:16] = 1
    got = contextual_attention(features, hidden)[0, 0, 14:18, 12:16]
    assert (got.sign() == stripes[0, 0, 14:18, 12:16]).all()


def test_attention_of_nothing_known_is_nothing_and_has_a_gradient() -> None:
    features = torch.randn(1, 2, 8, 8, requires_grad=True)
    out = contextual_attention(features, torch.ones(1, 1, 8, 8))
    assert not out.any()
    some = torch.ones(2, 1, 8, 8)
    some[1, :, :, 6:] = 0
    contextual_attention(features.expand(2, -1, -1, -1), some).square().sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    with pytest.raises(ValueError, match="sides that 2 divides"):
        contextual_attention(torch.randn(1, 2, 7, 8), torch.zeros(1, 1, 7, 8))


def test_neighbours_agree_in_both_directions() -> None:
    similar = torch.zeros(1, 3, 4, 3, 4)
    similar[0, 1, 1, 1, 2] = 1
    spread = propagate(similar)
    for v in (-1, 0, 1):
        for u in (-1, 0, 1):
            assert spread[0, 1 + v, 1 + u, 1 + v, 2 + u] == 1
    assert spread.sum() == 9


def test_discriminator_of_patches_is_the_listed_one() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(4, 8, 6).eval()
    widths = [4, 8, 16, 32, 32, 32, 32]
    x = seen = torch.rand(2, 4, 64, 64)
    for i, layer in enumerate(part for part in network.layers if isinstance(part, nn.Conv2d)):
        assert layer.weight.shape == (widths[i + 1], widths[i], 5, 5)
        top = torch.linalg.matrix_norm(layer.parametrizations.weight.original.flatten(1), 2)
        weight = layer.parametrizations.weight.original / top
        torch.testing.assert_close(layer.weight, weight, rtol=0.1, atol=0.02)  # of a few iterations
        x = F.conv2d(x, layer.weight, layer.bias, 2, 2)
        if i < 5:
            x = F.leaky_relu(x + network.layers[2 * i + 1].bias.view(1, -1, 1, 1), 0.2)
    torch.testing.assert_close(network(seen), x, rtol=1e-5, atol=1e-5)
    assert x.shape == (2, 32, 1, 1)


def test_context_encoder_is_the_listed_one() -> None:
    torch.manual_seed(0)
    network = CentreFiller(3, 5, 4, 20, overlap=4)
    wide = [4, 4, 8, 16, 32]
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2)]
    for i in range(4):
        layers += [nn.Conv2d(wide[i], wide[i + 1], 4, 2, 1), nn.BatchNorm2d(wide[i + 1]), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(32, 20, 4), nn.BatchNorm2d(20), nn.LeakyReLU(0.2)]
    layers += [nn.ConvTranspose2d(20, 32, 4), nn.BatchNorm2d(32), nn.ReLU()]
    for i in (4, 3, 2):
        layers += [nn.ConvTranspose2d(wide[i], wide[i - 1], 4, 2, 1), nn.BatchNorm2d(wide[i - 1]), nn.ReLU()]
    plain = nn.Sequential(*layers, nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh())
    same_weights(network, plain)
    images = torch.rand(3, 3, 128, 128) * 2 - 1
    hole = torch.zeros(1, 1, 128, 128)
    hole[:, :, 36:92, 36:92] = 1  # 64 in the middle, less 4 on each side
    outside = (hole == 0).expand_as(images)
    mean = torch.stack([image[out].view(3, -1).mean(1) for image, out in zip(images, outside, strict=True)])
    given = torch.where(hole > 0, mean[:, :, None, None], images)
    (drawn,) = network(images, hole)
    torch.testing.assert_close(drawn[:, :, 32:96, 32:96], plain(given), rtol=1e-5, atol=1e-5)
    rim = torch.ones(128, 128, dtype=torch.bool)
    rim[32:96, 32:96] = False
    assert torch.equal(drawn[:, :, rim], images[:, :, rim])
    weight = torch.full((64, 64), 10.0)
    weight[4:60, 4:60] = 1
    error = (weight * (drawn - images)[:, :, 32:96, 32:96].square()).mean()
    torch.testing.assert_close(network.errors((drawn,), images, torch.ones_like(images[:, :1]))["pixels"], error)
    seen, along = network.judged(drawn, images, hole)
    assert along is None
    assert CentreDiscriminator(3, 4, 4)(seen).shape == (3, 1, 1, 1)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_context_encoder_of_many_sizes(size: int) -> None:
    networks = Inpaint(InpaintConfig(network="context-encoder", g_width=4, d_width=4, neck=8, overlap=1)).networks(
        spec(size, size, 1)
    )
    (drawn,) = networks["filler"](torch.rand(2, 1, size, size), torch.zeros(2, 1, size, size))
    assert drawn.shape == (2, 1, size, size)
    assert networks["discriminator"](networks["filler"].judged(drawn, drawn, drawn)[0]).shape == (2, 1, 1, 1)


CENTRE = {"network": "context-encoder"}


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (spec(60, 64), {}, "sides that 8 divides; the images are 64x60"),
        (spec(32, 32), {}, r"d_layers = 6: nothing is left of 32x32 pixels.*d-layers 5"),
        (spec(96, 96), CENTRE, "squares of 16, 32, 64, ... pixels; the images are 96x96"),
        (spec(64, 128), CENTRE, "squares of .*; the images are 128x64"),
        (spec(8, 8), CENTRE, "squares of .*; the images are 8x8"),
        (spec(16, 16), CENTRE, r"overlap = 4: no hole is left of a centre of 8x8 pixels"),
        (spec(name="a"), {}, r"no image under 'image'; its images: a \(.*image-key a"),
    ],
)
def test_what_cannot_be_is_said(given: DataSpec, options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Inpaint(InpaintConfig(**options)).networks(given)
