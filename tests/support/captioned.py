"""Digits in an ink with a caption, and variants that can be asked for parts of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gankit.data.text import encode_text
from gankit.plugin import Config, Dataset, DataSpec, Key, Variant

INKS = ("red", "blue")


class Captioned(Dataset[Config]):
    """Digits in an ink, with a caption."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, 4, 4)),
                "text": Key(kind="text", shape=(12,)),
                "digit": Key(kind="class", names=tuple("0123456789")),
                "ink": Key(kind="class", names=INKS),
                "vector": Key(kind="vector", shape=(2,)),
            }
        )

    def __len__(self) -> int:
        return 0 if self.split == "train" else 14

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        digit, ink = indices % 10, indices % 2
        texts = [f"{INKS[i]} {d}" for i, d in zip(ink.tolist(), digit.tolist(), strict=True)]
        return {
            "image": torch.full((len(indices), 3, 4, 4), 255, dtype=torch.uint8),
            "text": encode_text(texts, 12),
            "digit": digit,
            "ink": ink,
            "vector": torch.stack([digit, ink], 1).float(),
        }


ROWS = Captioned(Config(), "test")


def make(*names: str) -> Variant:
    class Asked(Variant[Config]):
        dataset = "captioned"
        conditions = frozenset(names)

        def networks(self, spec):
            return {"net": nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())}

        def phases(self):
            return []

        def sample(self, networks, request):
            return networks["net"](request.noise(request.n, 3, 4, 4)).add(10)

    return Asked(Config())
