"""A history of drawn images (Shrivastava et al. 2017, section 2.3; CycleGAN keeps 50)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gankit import whole_batch


class ImagePool(nn.Module):
    """Up to `size` images of `shape` (C, H, W), float32, in buffers: a run that is resumed has the same ones.

    Put it among a variant's networks. With ``size=0`` there is no history. ValueError if `size` is negative.
    """

    def __init__(self, size: int, shape: Sequence[int]) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"ImagePool: size must be 0 or more, not {size}")
        self.size = size
        self.images: Tensor
        """(size, C, H, W)."""
        self.filled: Tensor
        """How many of them are there, int64 scalar."""
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def query(self, fakes: Tensor, generator: torch.Generator) -> Tensor:
        """For each of `fakes` (N, C, H, W), itself or an older one; same shape and dtype, without a graph.

        Image by image: until the pool is full it is stored and returned; then, with probability 1/2, it takes the place
        of a stored one that is returned in its stead. N may be larger than the pool. All on the device, without waiting
        for it; `generator` must be on that device. ValueError for images of another shape.
        """
        if fakes.dim() != self.images.dim() or fakes.shape[1:] != self.images.shape[1:]:
            want, got = tuple(self.images.shape[1:]), tuple(fakes.shape)
            raise ValueError(f"ImagePool: fakes must be of shape (N, {', '.join(map(str, want))}), not {got}")
        fakes = fakes.detach()
        number, device = len(fakes), fakes.device
        if self.size == 0 or number == 0:
            return fakes
        fakes = whole_batch.gather(fakes)
        number = len(fakes)
        swap = torch.rand(number, generator=generator, device=device) < 0.5
        slot = torch.randint(self.size, (number,), generator=generator, device=device)
        place = self.filled + torch.arange(number, device=device)
        fills = place < self.size
        slot = torch.where(fills, place, slot)
        writes = fills | swap
        # images of one batch may meet in a slot: the later one gets what the last one before it has put there
        same = (slot[:, None] == slot) & writes
        earlier = same.tril(-1)
        stored = self.images[slot]
        new = fakes.float()
        older = torch.where(_broad(earlier.any(1), new), new[_last(earlier)], stored)
        self.images.index_copy_(0, slot, torch.where(_broad(same.any(1), new), new[_last(same)], stored))
        self.filled.add_(number).clamp_(max=self.size)
        return whole_batch.rows(torch.where(_broad(fills | ~swap, new), fakes, older.to(fakes.dtype)))

    def extra_repr(self) -> str:
        return f"size={self.size}, shape={tuple(self.images.shape[1:])}"


def _last(mask: Tensor) -> Tensor:
    """The last place of each row of `mask` (N, N) that is True, int64 (N,); 0 if none is."""
    return (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)


def _broad(mask: Tensor, images: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (images.dim() - 1))


__all__ = ["ImagePool"]
