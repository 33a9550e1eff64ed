"""`InstanceNormAct2d`: `nn.InstanceNorm2d`, activation and residual as one module."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from gankit.ops.instance_norm_act import instance_norm_act

__all__ = ["InstanceNormAct2d"]


class InstanceNormAct2d(nn.Module):
    """Instance norm, leaky ReLU and an optional residual; see `gankit.ops.instance_norm_act`.

    Its state dict interchanges with that of `nn.InstanceNorm2d`, affine or not, without running statistics.

    Args:
        num_features: channels C of the input.
        eps: added to the variance.
        affine: whether a weight and a bias per channel are learnt.
        negative_slope: slope of the activation below zero: 1 leaves it out, 0 is a ReLU.
        keep_input: whether the input is kept for backward, or recovered from the output; see the op.

    Shape: input and residual ``[N, C, H, W]`` or ``[C, H, W]``; the output likewise.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    keep_input: bool | None = None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        affine: bool = False,
        negative_slope: float = 1.0,
        keep_input: bool | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.affine = affine
        self.negative_slope = negative_slope
        self.keep_input = keep_input
        for name in ("weight", "bias"):
            value = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype)) if affine else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Ones and zeros."""
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if x.dim() not in (3, 4):
            raise ValueError(f"x must have 4 dimensions, or 3 without a batch, got {x.dim()}")
        if x.shape[-3] != self.num_features:
            raise ValueError(f"x must have {self.num_features} channels, got {x.shape[-3]}")
        if x.dim() == 3:
            residual = None if residual is None else residual.unsqueeze(0)
            return self.forward(x.unsqueeze(0), residual).squeeze(0)
        return instance_norm_act(
            x,
            self.weight,
            self.bias,
            residual=residual,
            negative_slope=self.negative_slope,
            eps=self.eps,
            keep_input=self.keep_input,
        )

    def extra_repr(self) -> str:
        kept = "" if self.keep_input is None else f", keep_input={self.keep_input}"
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}, negative_slope={self.negative_slope}{kept}"

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Says what running statistics are about, where torch only calls their keys unexpected."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        found = [k for k in ("running_mean", "running_var", "num_batches_tracked") if prefix + k in state_dict]
        if found:
            warnings.warn(
                f"the state dict has running statistics for {prefix}* ({', '.join(found)}), but InstanceNormAct2d "
                "norms each sample by its own: load with strict=False to leave them out",
                stacklevel=2,
            )
