"""Batch norm and dropout of a batch that several processes share.

`torch.nn.SyncBatchNorm` is the same for GPUs alone, and has no second derivative.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from gankit import whole_batch
from gankit.errors import PluginError

__all__ = ["of_whole_batch"]

_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
_DROPOUTS = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d
_OTHERS = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd


def of_whole_batch(network: nn.Module) -> bool:
    """Makes the batch norms of `network` see the rows of all processes, and dropout draw for all of them, in place.

    Returns whether it has any. Parameters, buffers and their names stay, and so does what they do in eval mode, and
    with one process. :class:`PluginError` for other kinds, a SyncBatchNorm or an AlphaDropout, which would see one
    process's rows alone.
    """
    changed = False
    for name, module in network.named_modules():
        if isinstance(module, (_WholeBatchNorm, _WholeBatchDropout)):
            changed = True
        elif isinstance(module, (*_NORMS, *_DROPOUTS)):
            kind: type[nn.Module] = type(module)
            module.__class__ = _of_whole_batch(kind)  # type: ignore[arg-type, assignment]
            changed = True
        elif isinstance(module, _OTHERS):
            what = f"{type(module).__name__} {name!r} sees the samples of one process alone"
            raise PluginError(f"{what}. Of several processes only torch's own BatchNorm and Dropout can be shared.")
    return changed


@cache
def _of_whole_batch(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (_WholeBatchNorm if issubclass(kind, _NORMS) else _WholeBatchDropout, kind), {})


class _WholeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Mean and variance are those of the rows of all processes (Ioffe and Szegedy 2015, algorithm 1)."""

    def forward(self, input: Tensor) -> Tensor:
        of_the_batch = self.training or self.running_mean is None
        if not of_the_batch or whole_batch.whole(1) == 1:
            return super().forward(input)
        self._check_input_dim(input)
        with torch.autocast(input.device.type, enabled=False):
            x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
            y, mean, variance = _Normalized.apply(x, self.weight, self.bias, self.eps)
            self._follow(mean, variance, whole_batch.whole(input.numel() // input.shape[1]))
            return y.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics, as torch does: the variance is the unbiased one."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_((variance * (count / max(count - 1, 1))).to(self.running_var.dtype), weight)


class _Normalized(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, by the mean and variance of all rows, which are returned too.

    Once with torch's own kernels for the passes over x; where a gradient is itself to be differentiated, from what
    autograd can follow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        mean, variance = _together(*_moments(x))
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.biased, ctx.world = eps, bias is not None, whole_batch.current()
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        gradient = gradients[0]
        if gradient is None:
            return None, None, None, None
        with whole_batch.shared(*ctx.world):  # on a GPU a thread of its own goes backward
            again = torch.is_grad_enabled()
            if again:
                variance, mean = torch.var_mean(x, _across(x), correction=0)
                mean, variance = _together(mean, variance)
            spread = (variance + ctx.eps).rsqrt()
            if again or x.device.type != "cpu":
                of_bias = gradient.sum(_across(x))
                of_weight = ((gradient * x).sum(_across(x)) - mean * of_bias) * spread
            else:
                _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                    gradient,
                    x,
                    mean.new_ones(len(mean)),
                    mean,
                    variance,
                    mean,
                    spread,
                    True,
                    ctx.eps,
                    [False, True, True],
                )
            number = x.numel() // x.shape[1]
            about_bias, about_weight = whole_batch.mean(torch.stack([of_bias, of_weight]) / number)
            gain = spread if weight is None else spread * weight
            slope = -gain * spread * about_weight
            shape = [1, -1, *[1] * (x.dim() - 2)]
            constant = (-gain * about_bias - slope * mean).view(shape)
            of_x = torch.addcmul(torch.addcmul(constant, x, slope.view(shape)), gradient, gain.view(shape))
        return of_x, None if weight is None else of_weight, of_bias if ctx.biased else None, None


def _across(x: Tensor) -> list[int]:
    return [d for d in range(x.dim()) if d != 1]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of these rows."""
    if x.device.type == "cpu":  # three times as fast as var_mean
        mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
        return mean, variance
    variance, mean = torch.var_mean(x, _across(x), correction=0)
    return mean, variance


def _together(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Those of all rows, from those of each process apart, so that nothing cancels where means are large."""
    means, variances = whole_batch.gather(torch.stack([mean, variance])[None]).unbind(1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


class _WholeBatchDropout(nn.modules.dropout._DropoutNd):
    """What is dropped is drawn from torch's global state for all rows, which stands at one place in all processes."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or whole_batch.whole(1) == 1:
            return super().forward(input)
        ones = input.new_ones(whole_batch.whole(len(input)), *input.shape[1:])
        return input * whole_batch.rows(super().forward(ones))
