"""Dataset ``dressed-digits``: real handwritten digits in two dresses, no digit in both.

The digits are those of the dataset ``digits`` (E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, CC BY 4.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from gankit_plugin_cgan.digits import NAMES, Digits, DigitsConfig
from pydantic import Field

from gankit.plugin import Config, Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.plugin import Batch

CHALK, BOARD = (236, 238, 224), (38, 74, 58)
INK, PAPER, LINES = (255, 214, 120), (24, 44, 110), (70, 104, 176)


class DressedDigitsConfig(Config):
    """Options of the dataset ``dressed-digits``."""

    size: int = Field(32, ge=16, le=256, multiple_of=4)
    """Width and height in pixels."""


class DressedDigits(Dataset[DressedDigitsConfig]):
    """Handwritten digits in two dresses: chalk on a board (a), and yellow ink on blue squared paper (b). Unpaired.

    ``a``, ``b``: uint8 (N, 3, size, size); ``label_a``, ``label_b``: int64 (N,), 0 to 9. In each split of ``digits``
    every second image of a digit wears a, the others b, so that none is in both: 719 and 723 train, 176 and 179 test.
    Grain of the board and place of the squares follow from an image's number.
    """

    Config = DressedDigitsConfig
    in_memory = True

    def __init__(self, config: DressedDigitsConfig, split: Literal["train", "test"] = "train") -> None:
        import torch

        super().__init__(config, split)
        digits = Digits(DigitsConfig(size=config.size), split)
        label = digits.batch(torch.arange(len(digits)))["label"]
        rank = torch.nn.functional.one_hot(label, len(NAMES)).cumsum(0)[torch.arange(len(label)), label]
        worn = {name: digits.batch((rank % 2 == odd).nonzero()[:, 0]) for odd, name in enumerate("ab")}
        self._labels = {name: batch["label"] for name, batch in worn.items()}
        self._images = {"a": chalk(worn["a"]["image"]), "b": ink(worn["b"]["image"])}

    @property
    def spec(self) -> DataSpec:
        image = Key(kind="image", shape=(3, self.config.size, self.config.size))
        return DataSpec(
            keys={
                "a": image,
                "b": image,
                "label_a": Key(kind="class", names=NAMES, of="a", like="label_b"),
                "label_b": Key(kind="class", names=NAMES, of="b", like="label_a"),
            }
        )

    def streams(self) -> Mapping[str, int]:
        return {name: len(labels) for name, labels in self._labels.items()}

    def batch(self, indices: Mapping[str, Tensor]) -> Batch:
        batch: Batch = {}
        for name, index in indices.items():
            batch[name] = self._images[name].index_select(0, index)
            batch[f"label_{name}"] = self._labels[name].index_select(0, index)
        return batch


def chalk(strokes: Tensor) -> Tensor:
    """Strokes uint8 (N, 1, H, W), white on black, as chalk on a grainy board: uint8 (N, 3, H, W)."""
    import torch

    grain = torch.randn(strokes.shape, generator=torch.Generator().manual_seed(0)) * 9
    return _blend(strokes, _plain(CHALK, strokes), _plain(BOARD, strokes) + grain)


def ink(strokes: Tensor) -> Tensor:
    """The same as yellow ink on blue squared paper, whose squares are a quarter of the side and begin anywhere."""
    import torch

    n, _, height, width = strokes.shape
    square = height // 4
    place = torch.randint(square, (2, n, 1), generator=torch.Generator().manual_seed(1))
    down = (torch.arange(height) + place[0]) % square < max(1, height // 32)
    across = (torch.arange(width) + place[1]) % square < max(1, height // 32)
    lines = (down[:, :, None] | across[:, None, :]).unsqueeze(1)
    return _blend(strokes, _plain(INK, strokes), torch.where(lines, _plain(LINES, strokes), _plain(PAPER, strokes)))


def _plain(colour: tuple[int, int, int], like: Tensor) -> Tensor:
    import torch

    return torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(len(like), 3, *like.shape[2:])


def _blend(strokes: Tensor, front: Tensor, back: Tensor) -> Tensor:
    import torch

    alpha = (strokes.float() / 255).clamp(0, 1)
    return torch.lerp(back, front, alpha).round_().clamp_(0, 255).to(torch.uint8)
