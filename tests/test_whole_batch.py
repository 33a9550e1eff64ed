"""A batch that several processes share: rows, draws and statistics beside those of one process."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from gankit import whole_batch
from gankit.check.simulated import Apart, together
from gankit.errors import PluginError
from gankit.nn import AdaptiveProbability, DropoutNoise, ImagePool
from gankit.nn.whole_batch_norm import of_whole_batch
from gankit.whole_batch import shared


def each(size, work):
    """What `work`, which gets the rank, returns in each of `size` processes that share a batch."""

    def run(world):
        with shared(world):
            return work(world.rank)

    return together(size, run)


@pytest.mark.parametrize("draw", [whole_batch.rand, whole_batch.randn, lambda *s, **k: whole_batch.randint(9, *s, **k)])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_draws_are_rows_of_one(draw, dim):
    def drawn(rank=None):
        return draw(4, 4, 4, generator=torch.Generator().manual_seed(3), dim=dim)

    parts = each(3, drawn)
    shape = [4, 4, 4]
    shape[dim] = 12
    assert torch.equal(torch.cat(parts, dim), draw(*shape, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.int16, torch.uint8, torch.bool])
def test_gathered_rows(dtype):
    rows = torch.arange(24).view(6, 2, 2).to(dtype)
    for gathered in each(3, lambda rank: whole_batch.gather(rows[2 * rank : 2 * rank + 2])):
        assert gathered.dtype is dtype
        assert torch.equal(gathered, rows)
    assert whole_batch.gather(rows) is rows  # of one process
    (empty, _) = each(2, lambda rank: whole_batch.gather(torch.empty(0, 3)))
    assert empty.shape == (0, 3)


def test_batches_behind_one_another():
    """All reals and all fakes, as one process has them; of one sample a process as well."""
    for size in (1, 2):
        number = 3 * size
        real, fake = torch.arange(number).float(), -torch.arange(1, number + 1).float()

        def run(world, size=size, real=real, fake=fake):
            with shared(world, size):
                own = world.share(len(real))
                both = torch.cat([real[own], fake[own]])
                drawn = whole_batch.rand(2, 2 * size, generator=torch.Generator().manual_seed(1), dim=1)
                return whole_batch.gather(both), whole_batch.rows(torch.cat([real, fake])) - both, drawn

        results = together(3, run)
        wanted = torch.rand(2, 2 * number, generator=torch.Generator().manual_seed(1))
        for gathered, apart, _ in results:
            assert torch.equal(gathered, torch.cat([real, fake]))
            assert not apart.any()
        halves = [torch.cat([one[2][:, k * size : (k + 1) * size] for one in results], 1) for k in range(2)]
        assert torch.equal(torch.cat(halves, 1), wanted)


def test_gradients_of_what_is_gathered():
    """Of a loss over all rows that each process computes, and then averages."""
    x = torch.randn(6, 3, dtype=torch.float64)
    weight = torch.randn(3, 2, dtype=torch.float64)

    def loss(rows, w):
        y = whole_batch.gather(rows @ w)
        return (y @ y.T).softmax(1).diagonal().log().mean() + whole_batch.mean((rows @ w).square().mean(0)).log().sum()

    def gradient(rows):
        w = weight.clone().requires_grad_()
        (first,) = torch.autograd.grad(loss(rows, w), w, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), w)
        return first.detach(), second

    first, _ = gradient(x)
    parts = each(3, lambda rank: gradient(x[2 * rank : 2 * rank + 2]))
    torch.testing.assert_close(torch.stack([one for one, _ in parts]).mean(0), first, rtol=1e-12, atol=1e-12)


def test_they_must_ask_for_the_same():
    with pytest.raises(Apart, match="exchange"):
        each(2, lambda rank: whole_batch.mean(torch.zeros(2 + rank)))
    with pytest.raises(Apart, match="ended"):
        each(2, lambda rank: rank or whole_batch.mean(torch.zeros(2)))


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}])
def test_batch_norm(kind, options):
    shape = (8, 3, *[4] * int(kind.__name__[9]))
    x = (torch.randn(shape, dtype=torch.float64) + 1e4).requires_grad_()
    target = torch.randn(shape, dtype=torch.float64)

    def run(rows):
        torch.manual_seed(1)
        norm = kind(3, **options).double()
        of_whole_batch(norm)
        for _ in range(2):
            y = norm(x[rows])
        loss = (y - target[rows]).square().mean()
        parameters = list(norm.parameters())
        grads = torch.autograd.grad(loss, [x, *parameters])
        norm.eval()
        return y, grads, dict(norm.state_dict()), norm(x[rows])

    y, grads, state, evaluated = run(slice(None))
    parts = each(2, lambda rank: run(slice(4 * rank, 4 * rank + 4)))
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.cat([part[3] for part in parts]), evaluated, rtol=1e-9, atol=1e-9)
    for number, grad in enumerate(grads):
        mean = torch.stack([part[1][number] for part in parts]).mean(0)
        torch.testing.assert_close(mean, grad, rtol=1e-6, atol=1e-9)
    for part in parts:
        assert part[2].keys() == state.keys()
        for key, value in state.items():
            torch.testing.assert_close(part[2][key], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_batch_norm_in_sixteen_bits(dtype, layout):
    x = torch.randn(4, 8, 5, 3).to(dtype).contiguous(memory_format=layout)
    norm = nn.BatchNorm2d(8)
    wanted = norm(x)

    def run(rank):
        one = nn.BatchNorm2d(8)
        of_whole_batch(one)
        return one(x[2 * rank : 2 * rank + 2])

    for rank, y in enumerate(each(2, run)):
        assert y.dtype is dtype
        assert y.is_contiguous(memory_format=layout)
        torch.testing.assert_close(y, wanted[2 * rank : 2 * rank + 2], rtol=2e-2, atol=2e-2)


def test_second_derivatives_of_batch_norm():
    """The weights' gradient of a penalty on slopes, which each process takes of its own rows."""
    x = torch.randn(6, 2, dtype=torch.float64)
    torch.manual_seed(2)
    first, last = nn.Linear(2, 4).double(), nn.Linear(4, 1).double()

    def run(rows):
        norm = nn.BatchNorm1d(4).double()
        of_whole_batch(norm)
        points = x[rows].clone().requires_grad_()
        logits = last(norm(first(points)).sin())
        (slope,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
        return torch.autograd.grad(slope.square().sum(1).mean(), [first.weight, norm.weight, last.weight])

    wanted = run(slice(None))
    parts = each(3, lambda rank: run(slice(2 * rank, 2 * rank + 2)))
    for number, gradient in enumerate(wanted):
        mean = torch.stack([part[number] for part in parts]).mean(0)
        torch.testing.assert_close(mean, gradient, rtol=1e-9, atol=1e-12)


def test_one_process_has_torchs_own():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    norm = nn.BatchNorm2d(3).double()
    of_whole_batch(norm)
    assert torch.equal(norm(x), nn.BatchNorm2d(3).double()(x))
    assert gradcheck(norm, x)
    assert gradgradcheck(norm, x)


class AlwaysOn(nn.Dropout):
    def train(self, mode=True):
        return super().train()


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, AlwaysOn, DropoutNoise])
def test_dropout(kind):
    x = torch.randn(6, 4, *[3] * int(kind.__name__[7:8] if kind.__name__[7:8].isdigit() else 1))

    def run(rows):
        torch.manual_seed(5)
        module = kind(0.4)
        of_whole_batch(module)
        return module(x[rows])

    parts = each(3, lambda rank: run(slice(2 * rank, 2 * rank + 2)))
    assert torch.equal(torch.cat(parts), run(slice(None)))


@pytest.mark.parametrize("kind", [nn.SyncBatchNorm(3), nn.AlphaDropout(0.5), nn.Sequential(nn.FeatureAlphaDropout())])
def test_what_cannot_be_shared(kind):
    with pytest.raises(PluginError, match="sees the samples of one process alone"):
        of_whole_batch(kind)


def test_pool_and_adaptive_probability():
    images = torch.arange(40.0).view(5, 8, 1, 1, 1)

    def run(rows):
        pool, ada, draw = ImagePool(5, (1, 1, 1)), AdaptiveProbability(images=40, every=1), torch.Generator()
        given = [pool.query(batch[rows], draw) for batch in images]
        for batch in images:
            ada.adapt(batch[rows].flatten(1) - 11)
        return torch.stack(given), {**pool.state_dict(), **ada.state_dict()}

    given, state = run(slice(None))
    parts = each(4, lambda rank: run(slice(2 * rank, 2 * rank + 2)))
    assert torch.equal(torch.cat([part[0] for part in parts], 1), given)
    for _, own in parts:
        assert all(torch.equal(own[key], value) for key, value in state.items())
