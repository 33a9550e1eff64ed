"""Batch norm and dropout of a batch that several processes share.

`torch.nn.SyncBatchNorm` is the same for GPUs alone, and has no second derivative.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from gankit import whole_batch
from gankit.errors import PluginError

__all__ = ["of_whole_batch"]

_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
_DROPOUTS = nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d
_OTHERS = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd


def of_whole_batch(network: nn.Module) -> None:
    """Makes the batch norms of `network` see the rows of all processes, and dropout draw for all of them, in place.

    Parameters, buffers and their names stay, and so does what they do in eval mode, and with one process.
    :class:`PluginError` for other kinds, a SyncBatchNorm or an AlphaDropout, which would see one process's rows alone.
    """
    for name, module in network.named_modules():
        if isinstance(module, (_WholeBatchNorm, _WholeBatchDropout)):
            continue
        if isinstance(module, (*_NORMS, *_DROPOUTS)):
            kind: type[nn.Module] = type(module)
            module.__class__ = _of_whole_batch(kind)  # type: ignore[arg-type, assignment]
        elif isinstance(module, _OTHERS):
            what = f"{type(module).__name__} {name!r} sees the samples of one process alone"
            raise PluginError(f"{what}. Of several processes only torch's own BatchNorm and Dropout can be shared.")


@cache
def _of_whole_batch(kind: type[nn.Module]) -> type[nn.Module]:
    whole = _WholeBatchNorm if issubclass(kind, _NORMS) else _WholeBatchDropout
    return type(kind.__name__, (whole, kind), {})


class _WholeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Mean and variance are those of the rows of all processes (Ioffe and Szegedy 2015, algorithm 1)."""

    def forward(self, input: Tensor) -> Tensor:
        of_the_batch = self.training or self.running_mean is None
        if not of_the_batch or whole_batch.whole(1) == 1:
            return super().forward(input)
        self._check_input_dim(input)
        across = [d for d in range(input.dim()) if d != 1]
        with torch.autocast(input.device.type, enabled=False):
            x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
            variance, mean = torch.var_mean(x, across, correction=0)
            # of each process's rows apart, so that nothing cancels where means are large
            means, variances = whole_batch.gather(torch.stack([mean, variance])[None]).unbind(1)
            mean = means.mean(0)
            variance = variances.mean(0) + (means - mean).square().mean(0)
            self._follow(mean.detach(), variance.detach(), whole_batch.whole(input.numel() // input.shape[1]))
            gain = (variance + self.eps).rsqrt()
            if self.weight is not None:
                gain = gain * self.weight
            shift = -mean * gain if self.bias is None else self.bias - mean * gain
            shape = [1, -1, *[1] * (input.dim() - 2)]
            return torch.addcmul(shift.view(shape), x, gain.view(shape)).to(input.dtype)

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


class _WholeBatchDropout(nn.modules.dropout._DropoutNd):
    """What is dropped is drawn from torch's global state for all rows, which stands at one place in all processes."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or whole_batch.whole(1) == 1:
            return super().forward(input)
        ones = input.new_ones(whole_batch.whole(len(input)), *input.shape[1:])
        return input * whole_batch.rows(super().forward(ones))
