"""Text in a batch: UTF-8 bytes in a uint8 tensor, padded with zeros."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gankit.options.spelling import give

__all__ = ["cut_notes", "decode_text", "encode_text"]


def encode_text(texts: Sequence[str], length: int) -> Tensor:
    """UTF-8 bytes of each text, uint8 (len(texts), length), padded with zeros.

    A text of more than `length` bytes is cut between two characters, never inside one. NUL, which is the padding,
    becomes a space; a lone surrogate, which UTF-8 cannot hold, a question mark.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    rows = bytearray(len(texts) * length)
    for row, text in enumerate(texts):
        data = text.replace("\0", " ").encode("utf-8", "replace")[:length]
        data = data.decode("utf-8", "ignore").encode()  # drops a character cut in half
        rows[row * length : row * length + len(data)] = data
    if not rows:
        return torch.empty(0, length, dtype=torch.uint8)
    return torch.frombuffer(rows, dtype=torch.uint8).view(len(texts), length)


def cut_notes(texts: Sequence[str], length: int, option: str = "data.text_length") -> list[str]:
    """A note on those of `texts` that :func:`encode_text` cuts, and the `option` that says where; none if none is."""
    sizes = [len(text.encode("utf-8", "replace")) for text in texts]
    longer = sum(size > length for size in sizes)
    if not longer:
        return []
    more = give(option, "BYTES")
    return [f"{longer} of {len(sizes)} captions are cut after {length} bytes; the longest has {max(sizes)}: {more}"]


def decode_text(rows: Tensor) -> list[str]:
    """The texts of `rows`, uint8 (N, length), as :func:`encode_text` made them. Invalid bytes become U+FFFD."""
    if rows.dtype != torch.uint8 or rows.ndim != 2:
        raise TypeError(f"rows must be uint8 of two dimensions, got {rows.dtype} {tuple(rows.shape)}")
    return [bytes(row).split(b"\0", 1)[0].decode("utf-8", "replace") for row in rows.cpu().numpy()]
