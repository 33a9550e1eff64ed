"""Adversarial losses over maps of patch logits, value and gradient in one pass.

The forward pass reads the logits once and leaves their gradient behind, already weighted; the backward pass hands it
on, multiplied only where the incoming gradient is not one. Losses that are linear in the logits (wgan, and hinge for
the generator) have a constant gradient, so that there is nothing to fuse: torch's mean runs, but on a GPU.
`leaky_relu.py` says why an op has two names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gankit.ops._library import NATIVE, is_compiling
from gankit.ops._torch import function_apply, transformed

__all__ = [
    "KINDS",
    "Kind",
    "patchgan_d_loss",
    "patchgan_d_loss_reference",
    "patchgan_g_loss",
    "patchgan_g_loss_reference",
]

Kind = Literal["lsgan", "bce", "hinge", "wgan"]
Logits = Tensor | Sequence[Tensor]

KINDS: tuple[Kind, ...] = ("lsgan", "bce", "hinge", "wgan")  # the order of PatchGANKind in csrc/patchgan_loss.h
_DTYPES = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})


def patchgan_d_loss(real_logits: Logits, fake_logits: Logits, kind: Kind = "lsgan") -> Tensor:
    """The discriminator's loss on maps of logits, each averaged over its elements.

    ========  =====================================================  ==============================================
    kind      loss, with r = real_logits and f = fake_logits         source
    ========  =====================================================  ==============================================
    lsgan     0.5 * (mean((r - 1)^2) + mean(f^2))                    Mao et al. 2017, equation 2 with a = 0, b = 1
    bce       mean(softplus(-r)) + mean(softplus(f))                 Goodfellow et al. 2014, equation 1
    hinge     mean(relu(1 - r)) + mean(relu(1 + f))                  Lim and Ye 2017; Miyato et al. 2018, equation 16
    wgan      mean(f) - mean(r)                                      Arjovsky et al. 2017, equation 2
    ========  =====================================================  ==============================================

    The 0.5 of lsgan is the paper's, and CycleGAN's habit; the generator's loss of that paper has one too, which
    `patchgan_g_loss` leaves out, as CycleGAN does.

    Args:
        real_logits: a tensor of any shape, or one for each scale of a multi-scale discriminator; float32, float64,
            bfloat16 or float16.
        fake_logits: the same for generated samples; as many scales, shapes free.
        kind: "lsgan", "bce", "hinge" or "wgan".

    Returns:
        A scalar: the mean over the scales. float32, or float64 where any logits are; half logits are computed in
        float32. No elements give NaN, as torch's mean does.

    Gradients of first and second order in the logits.

    Raises:
        TypeError: logits of another dtype.
        ValueError: unknown kind, no scales, or different numbers of scales.
    """
    real, fake = _as_list("real_logits", real_logits), _as_list("fake_logits", fake_logits)
    if len(real) != len(fake):
        raise ValueError(f"real_logits and fake_logits must have as many scales, got {len(real)} and {len(fake)}")
    return _loss([*real, *fake], kind, generator=False)


def patchgan_g_loss(fake_logits: Logits, kind: Kind = "lsgan") -> Tensor:
    """The generator's loss on the discriminator's logits for generated samples.

    lsgan: mean((f - 1)^2). bce: mean(softplus(-f)), the non-saturating form (Goodfellow et al. 2014, section 3). hinge
    and wgan: -mean(f). Arguments, result, gradients and errors are as for `patchgan_d_loss`.
    """
    return _loss(_as_list("fake_logits", fake_logits), kind, generator=True)


def patchgan_d_loss_reference(real_logits: Logits, fake_logits: Logits, kind: Kind = "lsgan") -> Tensor:
    """The specification of `patchgan_d_loss` in plain torch."""
    real, fake = _as_list("real_logits", real_logits), _as_list("fake_logits", fake_logits)
    return _loss_reference([*real, *fake], kind, generator=False)


def patchgan_g_loss_reference(fake_logits: Logits, kind: Kind = "lsgan") -> Tensor:
    """The specification of `patchgan_g_loss` in plain torch."""
    return _loss_reference(_as_list("fake_logits", fake_logits), kind, generator=True)


def _as_list(name: str, logits: Logits) -> Sequence[Tensor]:
    scales = (logits,) if isinstance(logits, Tensor) else tuple(logits)
    if not scales:
        raise ValueError(f"{name} must be a tensor or hold one for each scale, got an empty {type(logits).__name__}")
    for scale in scales:
        if not isinstance(scale, Tensor) or scale.dtype not in _DTYPES:
            found = scale.dtype if isinstance(scale, Tensor) else type(scale).__name__
            raise TypeError(f"{name} must be tensors of float32, float64, bfloat16 or float16, got {found}")
    return scales


def _linear(kind: Kind, generator: bool) -> bool:
    return kind == "wgan" or (kind == "hinge" and generator)


def _value(x: Tensor, kind: Kind, up: bool) -> Tensor:
    """Mean loss of one map of logits; `up` where the loss wants them high. lsgan, bce and hinge."""
    if x.dtype in (torch.bfloat16, torch.float16):
        x = x.float()
    if kind == "lsgan":
        return ((x - 1) if up else x).square().mean()
    if kind == "bce":  # softplus(v) = -logsigmoid(-v), which keeps its digits at both ends
        return -F.logsigmoid(x if up else -x).mean()
    return F.relu(1 - x if up else 1 + x).mean()


def _mean(x: Tensor) -> Tensor:
    return x.mean(dtype=torch.float32) if x.dtype in (torch.bfloat16, torch.float16) else x.mean()


def _weight(kind: Kind, generator: bool, scales: int) -> float:
    return (0.5 if kind == "lsgan" and not generator else 1.0) / scales


def _loss_reference(logits: Sequence[Tensor], kind: Kind, generator: bool) -> Tensor:
    """Sum of the maps' losses: the discriminator's real ones come first, then as many fake ones."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    scales = len(logits) if generator else len(logits) // 2
    if _linear(kind, generator):
        return _linear_loss(logits, generator)
    losses = [_value(x, kind, generator or i < scales) for i, x in enumerate(logits)]
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    weight = _weight(kind, generator, scales)
    return total if weight == 1.0 else total * weight


def _linear_loss(logits: Sequence[Tensor], generator: bool) -> Tensor:
    means = [_mean(x) for x in logits]
    if generator:
        signed = [mean.neg() for mean in means]
    else:
        half = len(means) // 2
        signed = [fake - real for real, fake in zip(means[:half], means[half:], strict=True)]
    return signed[0] if len(signed) == 1 else torch.stack(signed).mean()


def _loss(logits: Sequence[Tensor], kind: Kind, generator: bool) -> Tensor:
    if not NATIVE or kind not in KINDS or transformed():
        return _loss_reference(logits, kind, generator)
    if _linear(kind, generator) and logits[0].device.type != "cuda":  # there launches are what counts: one, not four
        return _linear_loss(logits, generator)
    if is_compiling():
        return torch.ops.gankit.patchgan_loss.default(list(logits), KINDS.index(kind), generator)
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in logits)):
        return _forward(logits, KINDS.index(kind), generator, False)[0]
    return _apply(kind, generator, *logits)


def _slopes(logits: Sequence[Tensor], kind: Kind, generator: bool) -> list[Tensor]:
    """Derivatives of each element's loss before the weights, in plain torch; float32 for half logits."""
    result = []
    for i, x in enumerate(logits):
        up = generator or i < len(logits) // 2  # the loss wants these logits high
        if x.dtype in (torch.bfloat16, torch.float16):
            x = x.float()
        if kind == "lsgan":
            result.append(2 * (x - 1) if up else 2 * x)
        elif kind == "bce":
            result.append(-torch.sigmoid(-x) if up else torch.sigmoid(x))
        elif _linear(kind, generator):
            result.append(torch.full_like(x, -1.0 if up else 1.0))
        else:
            x = x.detach()
            beyond = (1 - x if up else 1 + x) <= 0
            result.append(torch.full_like(x, -1.0 if up else 1.0).masked_fill(beyond, 0.0))
    return result


def _element_weight(logits: Sequence[Tensor], i: int, kind: Kind, generator: bool) -> float:
    scales = len(logits) if generator else len(logits) // 2
    return _weight(kind, generator, scales) / max(logits[i].numel(), 1)


def _gradients(logits: Sequence[Tensor], kind: Kind, generator: bool, grad: Tensor) -> list[Tensor]:
    """The gradients in plain torch, differentiable in the logits and in `grad`."""
    return [
        (slope * (grad * _element_weight(logits, i, kind, generator))).to(logits[i].dtype)
        for i, slope in enumerate(_slopes(logits, kind, generator))
    ]


class _PatchGANLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: Kind, generator: bool, *logits: Tensor) -> Tensor:
        loss, slopes = _forward(logits, KINDS.index(kind), generator, True)
        ctx.save_for_backward(*slopes, *logits)  # the logits for a second derivative
        ctx.kind, ctx.generator = kind, generator
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        slopes, logits = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        if torch.is_grad_enabled():
            return None, None, *_gradients(logits, ctx.kind, ctx.generator, grad)
        return None, None, *_scaled(slopes, logits, ctx.kind, ctx.generator, grad)


_apply = function_apply(_PatchGANLoss)


def _scaled(
    slopes: Sequence[Tensor], logits: Sequence[Tensor], kind: Kind, generator: bool, grad: Tensor
) -> list[Tensor]:
    """The stored slopes times the incoming gradient. float16 ones were stored as half of the plain slopes: their weight
    would have put those of many elements among the subnormals, and twice a large logit does not fit."""
    # Reading one number is free on the CPU; elsewhere it would wait for the device. Several gradients at once
    # (`is_grads_batched`) are many numbers, and those of a dry run (torch's fake tensors, a subclass) none.
    factor: float | Tensor = grad
    if type(grad) is Tensor and grad.device.type == "cpu":
        with contextlib.suppress(RuntimeError):
            factor = grad.item()
    result = []
    for i, slope in enumerate(slopes):
        if slope.dtype == torch.float16:
            result.append(slope * (factor * (2.0 * _element_weight(logits, i, kind, generator))))
        else:
            result.append(slope if isinstance(factor, float) and factor == 1.0 else slope * factor)
    return result


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, kind, ctx.generator = inputs
    ctx.kind = KINDS[kind]
    ctx.save_for_backward(*logits)


def _registered_backward(ctx: Any, grad: Tensor) -> tuple[list[Tensor], None, None]:
    return _gradients(ctx.saved_tensors, ctx.kind, ctx.generator, grad), None, None


def _loss_dtype(logits: Sequence[Tensor]) -> torch.dtype:
    return torch.float64 if any(x.dtype == torch.float64 for x in logits) else torch.float32


def _fake(logits: Sequence[Tensor], kind: int, generator: bool) -> Tensor:
    if any(x.device != logits[0].device for x in logits):  # where one of them is "meta", this is what runs
        raise ValueError(f"logits must be on one device, got {', '.join(str(x.device) for x in logits)}")
    return logits[0].new_empty((), dtype=_loss_dtype(logits))


def _fake_forward(
    logits: Sequence[Tensor], kind: int, generator: bool, with_grads: bool
) -> tuple[Tensor, list[Tensor]]:
    return _fake(logits, kind, generator), [torch.empty_like(x) for x in logits] if with_grads else []


def _any_device(logits: Sequence[Tensor], kind: int, generator: bool) -> Tensor:
    return _loss_reference(logits, KINDS[kind], generator)


def _any_device_forward(
    logits: Sequence[Tensor], kind: int, generator: bool, with_grads: bool
) -> tuple[Tensor, list[Tensor]]:
    loss = _loss_reference(logits, KINDS[kind], generator)
    slopes = _slopes(logits, KINDS[kind], generator) if with_grads else []
    for i, x in enumerate(logits[: len(slopes)]):
        weight = 0.5 if x.dtype == torch.float16 else _element_weight(logits, i, KINDS[kind], generator)
        slopes[i] = (slopes[i] * weight).to(x.dtype)
    return loss, slopes


def _vmap(info: Any, dims: tuple[Any, ...], logits: list[Tensor], kind: int, generator: bool) -> tuple[Tensor, int]:
    def sample(i: int) -> list[Tensor]:
        return [x if d is None else x.select(d, i) for x, d in zip(logits, dims[0], strict=True)]

    losses = [torch.ops.gankit.patchgan_loss.default(sample(i), kind, generator) for i in range(info.batch_size)]
    return torch.stack(losses), 0


if NATIVE:
    _forward = torch.ops.gankit.patchgan_loss_forward.default
    torch.library.impl("gankit::patchgan_loss", "CompositeExplicitAutograd", _any_device)
    torch.library.impl("gankit::patchgan_loss_forward", "CompositeExplicitAutograd", _any_device_forward)
    torch.library.register_fake("gankit::patchgan_loss", _fake)
    torch.library.register_fake("gankit::patchgan_loss_forward", _fake_forward)
    torch.library.register_autograd("gankit::patchgan_loss", _registered_backward, setup_context=_setup_context)
    torch.library.register_vmap("gankit::patchgan_loss", _vmap)
