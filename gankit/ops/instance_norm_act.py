"""Instance norm, affine, leaky ReLU and a residual, in one pass over memory where a kernel exists."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gankit.ops._instance_norm_act_autograd import apply
from gankit.ops._instance_norm_act_library import forward_op, op
from gankit.ops._instance_norm_act_plain import check, compute_dtype
from gankit.ops._library import is_compiling
from gankit.ops._torch import transformed

__all__ = ["instance_norm_act", "instance_norm_act_reference"]


def instance_norm_act(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    negative_slope: float = 1.0,
    eps: float = 1e-5,
    keep_input: bool | None = None,
) -> Tensor:
    r"""Instance norm, then a leaky ReLU, then a residual added.

    .. math::
        y = \mathrm{leaky}\left(\frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \, w + b\right) + r

    with the mean and the biased variance of each plane, that is over the spatial dimensions of one sample and channel
    (Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", arXiv:1607.08022). There are no running statistics.

    Args:
        x: ``[N, C, L]``, ``[N, C, H, W]`` or ``[N, C, D, H, W]``; float32, float64, bfloat16 or float16. N may be 0.
        weight: ``[C]``, of the dtype of ``x``, or float32 where ``x`` has 16 bits. Default: ones.
        bias: ``[C]``, of the dtype of ``weight``. Default: zeros.
        residual: of the shape and dtype of ``x``; added after the activation.
        negative_slope: slope of the activation below zero: 1 leaves it out, 0 is a ReLU.
        eps: added to the variance.
        keep_input: whether ``x`` is kept for backward. If not, backward recovers it from the output, which the next
            layer keeps anyway: activation memory halves (Rota Bulo, Porzi and Kontschieder, "In-Place Activated
            BatchNorm", arXiv:1712.02616). It asks for a slope between 0.001 and 1000, no residual, and an output that
            nobody changes in place. With a weight, no element of it may be 0, and one small against the bias costs
            digits. Default: not kept where there is an activation of such a slope other than 1, no weight, bias or
            residual, and at least 2^18 elements (or any number under ``torch.compile``).

    Returns:
        Shape and dtype of ``x``, and its memory layout where that is contiguous or channels_last, else contiguous.

    Statistics are taken in float32 (float64 for float64), whatever the dtype of ``x``; results do not depend on the
    number of threads. First and second derivatives in ``x``, ``weight``, ``bias`` and ``residual`` are fused kernels,
    higher ones plain torch. Under ``torch.func`` (vmap, grad, jvp) and forward-mode differentiation the reference runs.

    Raises:
        ValueError: a shape that does not fit, tensors on different devices, planes of a single element, which have no
            variance, or ``keep_input=False`` where the output does not tell the input.
        TypeError: an argument that is not a tensor, or of another dtype.
    """
    if keep_input is False:
        _from_output(weight, bias, residual, negative_slope, keep_input)  # refuses what cannot be, gradients or not
    if transformed():  # vmap, grad, jvp: torch has every rule for the reference
        check(x, weight, bias, residual)
        return instance_norm_act_reference(x, weight, bias, residual=residual, negative_slope=negative_slope, eps=eps)
    if is_compiling():
        check(x, weight, bias, residual)
        from_output = _from_output(weight, bias, residual, negative_slope, keep_input)
        return op(x, weight, bias, residual, negative_slope, eps, from_output)[0]
    try:
        if torch.is_grad_enabled() and (
            x.requires_grad
            or (weight is not None and weight.requires_grad)
            or (bias is not None and bias.requires_grad)
            or (residual is not None and residual.requires_grad)
        ):
            from_output = _from_output(weight, bias, residual, negative_slope, keep_input)
            # Small ones would gain less than the detour costs.
            if from_output and (keep_input is not None or x.numel() >= 1 << 18):
                return apply(x, weight, bias, residual, negative_slope, eps, True)[0]
            return apply(x, weight, bias, residual, negative_slope, eps, False)
        return forward_op(x, weight, bias, residual, negative_slope, eps)[0]
    except (RuntimeError, TypeError, AttributeError) as error:
        refused = error
    check(x, weight, bias, residual)  # the op checks too, at less cost; this says it in Python's terms
    raise refused


def _from_output(
    weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, negative_slope: float, keep_input: bool | None
) -> bool:
    """Whether backward is given the output in place of the input."""
    if keep_input:
        return False
    possible = residual is None and 1e-3 <= negative_slope <= 1e3
    if keep_input is None:  # without an activation of ours an in-place one may follow
        return possible and negative_slope != 1 and weight is None and bias is None
    if not possible:
        why = "a residual is added" if residual is not None else f"negative_slope is {negative_slope}"
        raise ValueError(f"keep_input=False cannot recover the input where {why}: leave keep_input out")
    return True


def instance_norm_act_reference(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    negative_slope: float = 1.0,
    eps: float = 1e-5,
) -> Tensor:
    """What `instance_norm_act` means, in torch's own ops: the specification that the kernels are tested against."""
    wide = compute_dtype(x)
    weight, bias = (t if t is None else t.to(wide) for t in (weight, bias))
    if weight is None and bias is not None:
        weight = torch.ones_like(bias)  # a bias alone has no second derivative in torch's CUDA kernels
    y = F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    if negative_slope != 1:
        y = F.leaky_relu(y, negative_slope)
    return y if residual is None else y + residual
