"""The U-Net against its reference, written out in plain torch, and the dropout that stays on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gankit.nn import DropoutNoise, InstanceNormAct2d, UNetGenerator
from gankit.nn.init import init_normal


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Rounding is the same at each run."""
    torch.manual_seed(0)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


class Plain(nn.Module):
    """pix2pix's U-Net, from the inside out, in the order of operations of the paper's implementation: each level is
    leaky ReLU, convolution, norm, what lies inside of it, ReLU, transposed convolution, norm, dropout."""

    def __init__(self, inputs: int, outputs: int, width: int, downs: int, norm: Callable[[int], nn.Module], bias: bool):
        super().__init__()
        wide = [width * min(2**level, 8) for level in range(downs)]
        self.inner = wide
        self.down = nn.ModuleList(nn.Conv2d(i, o, 4, 2, 1, bias=bias) for i, o in zip([inputs, *wide], wide))  # noqa: B905
        self.down_norm = nn.ModuleList(norm(channels) for channels in wide)
        up = [nn.ConvTranspose2d(2 * width, outputs, 4, 2, 1)]
        for level in range(1, downs):
            both = wide[level] if level == downs - 1 else 2 * wide[level]
            up.append(nn.ConvTranspose2d(both, wide[level - 1], 4, 2, 1, bias=bias))
        self.up = nn.ModuleList(up)
        self.up_norm = nn.ModuleList(norm(channels) for channels in [outputs, *wide[:-1]])

    def forward(self, images: Tensor) -> Tensor:
        return self.level(0, images).tanh()

    def level(self, level: int, x: Tensor) -> Tensor:
        last = len(self.down) - 1
        y = self.down[level](x if level == 0 else F.leaky_relu(x, 0.2))
        if 0 < level < last:
            y = self.down_norm[level](y)
        if level < last:
            y = self.level(level + 1, y)
        y = self.up[level](y.relu())
        return y if level == 0 else torch.cat([x, self.up_norm[level](y)], 1)


def same_weights(network: UNetGenerator, plain: Plain) -> None:
    """Puts the weights of `network` into `plain`."""
    ups = [network.last[0], *(up.up for up in reversed(network.ups))]
    for ours, theirs in [*zip(network.downs, plain.down, strict=True), *zip(ups, plain.up, strict=True)]:
        conv = ours if isinstance(ours, nn.ConvTranspose2d) else ours[0]
        theirs.weight.data.copy_(conv.weight)
        if theirs.bias is not None:
            bias = conv.bias if conv.bias is not None else ours[1].bias  # the first and the innermost: in the ReLU
            theirs.bias.data.copy_(bias)
    norms = [(down[1], norm) for down, norm in zip(network.downs, plain.down_norm, strict=True)][1:-1]
    norms += [(up.norm_relu, norm) for up, norm in zip(reversed(network.ups), plain.up_norm[1:], strict=True)]
    for ours, theirs in norms:
        if theirs.weight is not None:
            norm = ours if isinstance(ours, InstanceNormAct2d) else ours[0]
            theirs.weight.data.copy_(norm.weight)
            theirs.bias.data.copy_(norm.bias)


@pytest.mark.parametrize(
    ("norm", "plain_norm", "bias"),
    [
        ("batch", nn.BatchNorm2d, False),
        ("instance", nn.InstanceNorm2d, True),
        ("affine", lambda channels: nn.InstanceNorm2d(channels, affine=True), False),
        ("layer", lambda channels: nn.GroupNorm(1, channels), False),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_outputs_are_those_of_plain_layers(norm, plain_norm, bias, layout) -> None:
    torch.manual_seed(0)
    network = init_normal(UNetGenerator(3, 2, width=4, downs=6, norm=norm, dropout=0.0), 0.1)
    for p in network.parameters():
        p.data.add_(torch.randn_like(p) * 0.05)  # biases too
    plain = Plain(3, 2, 4, 6, plain_norm, bias)
    same_weights(network, plain)
    network.to(memory_format=layout)
    images = torch.randn(3, 3, 64, 128)
    for mode in (True, False) if norm != "batch" else (True,):  # running statistics are compared below
        network.train(mode)
        ours, theirs = network(images.contiguous(memory_format=layout)), plain(images)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    gradients = [
        torch.autograd.grad(y.square().sum(), n.down[3].weight if n is plain else n.downs[3][0].weight)[0]
        for n, y in ((network, ours), (plain, theirs))
    ]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_batch_norm_has_its_running_statistics() -> None:
    network, plain = UNetGenerator(1, 1, width=2, downs=4), Plain(1, 1, 2, 4, nn.BatchNorm2d, False)
    same_weights(network, plain)
    images = torch.randn(4, 1, 16, 16)
    for _ in range(3):
        network(images), plain(images)
    network.eval(), plain.eval()
    torch.testing.assert_close(network(images), plain(images), atol=1e-5, rtol=1e-5)


def test_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        assert count(UNetGenerator(3, 3)) == 54_413_955
        assert count(UNetGenerator(3, 3, norm="affine")) == 54_413_955
        assert count(UNetGenerator(3, 3, downs=7)) == 41_828_995
        plain = Plain(3, 3, 64, 8, nn.InstanceNorm2d, True)
        assert count(UNetGenerator(3, 3, norm="instance")) == count(plain)


def test_affine_is_batch_norm_of_one_image() -> None:
    torch.manual_seed(0)
    batch, affine = (UNetGenerator(3, 3, 4, 5, norm) for norm in ("batch", "affine"))
    affine.load_state_dict(dict(zip(affine.state_dict(), batch.parameters(), strict=True)))
    images = torch.randn(2, 3, 32, 32)
    one_by_one = torch.cat([batch(image[None]) for image in images])
    torch.testing.assert_close(affine(images), one_by_one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("downs", "noisy"), [(8, [6, 5, 4]), (7, [5, 4]), (6, [4]), (5, []), (2, [])])
def test_where_the_noise_is(downs: int, noisy: list[int]) -> None:
    with torch.device("meta"):
        network = UNetGenerator(3, 3, downs=downs)
    levels = dict(zip(reversed(range(1, downs)), network.ups, strict=True))
    assert [level for level, up in levels.items() if up.noise.p] == noisy
    assert network.random is bool(noisy)
    assert all(up.up.out_channels == 512 for level, up in levels.items() if level in noisy)


def test_the_noise_stays_on_and_follows_its_generator() -> None:
    network = UNetGenerator(1, 1, width=4, downs=6, norm="instance").eval()
    images = torch.randn(2, 1, 64, 64)

    def drawn(seed: int) -> Tensor:
        return network(images, torch.Generator().manual_seed(seed))

    before = torch.get_rng_state()
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(network(images), network(images))
    network = UNetGenerator(1, 1, width=4, downs=6, dropout=0.0).eval()
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_dropped(dtype: torch.dtype, training: bool) -> None:
    x = torch.full((50, 4, 8, 8), 3.0, dtype=dtype).contiguous(memory_format=torch.channels_last)
    y = DropoutNoise(0.25).train(training)(x, torch.Generator().manual_seed(0))
    assert y.dtype is dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert 0.23 < (y == 0).float().mean() < 0.27
    assert y.unique().tolist() == pytest.approx([0, 4], rel=1e-2)
    assert DropoutNoise(0.0)(x) is x


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16, got 64x40"):
        UNetGenerator(1, 1, width=2, downs=4)(torch.zeros(1, 1, 64, 40))
    with pytest.raises(ValueError, match="downs must be at least 2, got 1"):
        UNetGenerator(1, 1, downs=1)
    with pytest.raises(ValueError, match="p must be at least 0 and less than 1, got 1"):
        DropoutNoise(1.0)
    with pytest.raises(ValueError, match="norm must be batch, instance, affine or layer, got 'group'"):
        UNetGenerator(1, 1, width=2, downs=3, norm="group")  # type: ignore[arg-type]
