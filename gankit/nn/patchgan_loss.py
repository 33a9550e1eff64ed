"""The PatchGAN losses as a module that remembers its kind."""

from __future__ import annotations

from torch import Tensor, nn

from gankit.ops.patchgan_loss import KINDS, Kind, Logits, patchgan_d_loss, patchgan_g_loss

__all__ = ["PatchGANLoss"]


class PatchGANLoss(nn.Module):
    """Both players' losses of one kind; see `gankit.ops.patchgan_d_loss` for the formulas.

    Args:
        kind: "lsgan", "bce", "hinge" or "wgan".
    """

    def __init__(self, kind: Kind = "lsgan") -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        self.kind: Kind = kind

    def d(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """The discriminator's loss."""
        return patchgan_d_loss(real_logits, fake_logits, self.kind)

    def g(self, fake_logits: Logits) -> Tensor:
        """The generator's loss."""
        return patchgan_g_loss(fake_logits, self.kind)

    def forward(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """`g(fake_logits)`, or with real logits `d(real_logits, fake_logits)`."""
        return self.g(fake_logits) if real_logits is None else self.d(real_logits, fake_logits)

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}"
