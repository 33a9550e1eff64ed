"""Dataset ``placed-emoji``: drawings of OpenMoji, captioned, at known places on colours or photographs."""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from gankit.data.files import Root
from gankit.data.folder import READING
from gankit.plugin import Config, Dataset, DataSpec, Key
from gankit_plugin_emoji.catalogue import Drawing, catalogue, font_file
from gankit_plugin_emoji.drawn import chosen
from gankit_plugin_emoji.emoji import Group
from gankit_plugin_emoji.grounds import GROUNDS, PHOTOGRAPH, Photographs
from gankit_plugin_emoji.groups import GROUPS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gankit.events import OnEvent
    from gankit.plugin import Batch
    from gankit_plugin_emoji.drawings import Drawings

__all__ = ["TEXT_BYTES", "PlacedEmoji", "PlacedEmojiConfig"]

TEXT_BYTES = 120
"""More than the longest caption takes."""
TEST_PART = 10
"""One image in so many as there are for training is there for testing, and one photograph in so many."""


class PlacedEmojiConfig(Config):
    """Options of the dataset ``placed-emoji``."""

    size: int = Field(64, ge=32, le=512)
    """Height and width of the images."""
    number: int = Field(20_000, ge=100)
    """Images for training; a tenth as many are there for testing."""
    groups: tuple[Group, ...] = GROUPS  # type: ignore[assignment]
    """Which of Unicode's groups."""
    least: float = Field(0.4, gt=0.1, le=1)
    """Least length of the longer side of a drawing's box, of the image's."""
    most: float = Field(0.75, gt=0.1, le=1)
    """Greatest."""
    photographs: Root = ""
    """Directory of photographs; half of the drawings stand on parts of them."""
    cache: bool = True
    """Keep drawings and photographs on disk, for all runs (GANKIT_CACHE says where)."""
    cache_gib: float = Field(20.0, gt=0)
    """Most disk for kept images of all data together, in GiB; those not used for longest make room."""

    @model_validator(mode="after")
    def _in_order(self) -> PlacedEmojiConfig:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) is more than most ({self.most})")
        return self


class PlacedEmoji(Dataset[PlacedEmojiConfig]):
    """Emoji of any size, anywhere on a ground of one colour or on a photograph: what, and where.

    ``image``: uint8 (N, 3, size, size). ``text``: the drawing's name and group, in varied order, and the ground, its
    colour or "a photograph", UTF-8. ``group``: int64 (N,). ``box``: float32 (N, 4), which the drawing fills.
    ``points``: float32 (N, 4, 2), where its outline is leftmost, highest, rightmost and lowest. One drawing of ten is
    held out, with all its kin.
    """

    Config = PlacedEmojiConfig
    reading = READING

    def __init__(self, config: PlacedEmojiConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._groups = chosen("groups", config.groups, GROUPS)
        self.members = [
            one for one in catalogue() if one.group in self._groups and not one.toned and one.split == split
        ]
        self._drawings  # noqa: B018  # opened here, so that what is missing is said before anything begins
        self._photographs: Photographs | None = None
        if config.photographs:
            disk = int(config.cache_gib * (1 << 30)) if config.cache else 0
            self._photographs = Photographs(config.photographs, config.size, split, 1 / TEST_PART, disk)

    @property
    def spec(self) -> DataSpec:
        size = self.config.size
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, size, size)),
                "text": Key(kind="text", shape=(TEXT_BYTES,)),
                "group": Key(kind="class", names=self._groups),
                "box": Key(kind="box", shape=(4,)),
                "points": Key(kind="points", shape=(4, 2), mirror=(2, 1, 0, 3)),
            }
        )

    def __len__(self) -> int:
        return self.config.number if self.split == "train" else self.config.number // TEST_PART

    def load(self, tell: OnEvent) -> None:
        for drawings in self._drawings:
            drawings.load(tell)
        if self._photographs:
            self._photographs.load(tell)

    def batch(self, indices: Tensor) -> Batch:
        import numpy as np
        import torch

        from gankit.data.text import encode_text

        samples = [self._sample(int(index)) for index in indices]
        numbers = [index % len(self.members) for index in indices.tolist()]
        groups = [self._groups.index(str(self.members[number].group)) for number in numbers]
        size = self.config.size

        def stacked(part: int, shape: tuple[int, ...], kind: Any) -> Tensor:
            rows = [sample[part] for sample in samples]
            return torch.from_numpy(np.stack(rows).astype(kind) if rows else np.empty((0, *shape), kind))

        return {
            "image": stacked(0, (3, size, size), np.uint8),
            "text": encode_text([sample[1] for sample in samples], TEXT_BYTES),
            "group": torch.tensor(groups, dtype=torch.int64),
            "box": stacked(2, (4,), np.float32),
            "points": stacked(3, (4, 2), np.float32),
        }

    def source(self, index: int, stream: str = "") -> str:
        drawing = self.members[index % len(self.members)]
        return f"{drawing.name} {drawing.text}"

    def notes(self) -> list[str]:
        return self._drawings[0].notes() + (self._photographs.notes() if self._photographs else [])

    def fingerprint(self) -> str:
        made = blake2b(font_file().read_bytes(), digest_size=16)
        made.update(repr([drawing.codes for drawing in self.members]).encode())
        photographs = f" {self._photographs.fingerprint()}" if self._photographs else ""
        return f"placed-emoji {len(self)} {made.hexdigest()}{photographs}"

    @cached_property
    def _drawings(self) -> tuple[Drawings, Drawings]:
        """The members on black and on white: what differs between the two is transparent."""
        from gankit_plugin_emoji.drawings import Drawings

        size, disk = self.config.size, self.config.cache
        black, white = (
            Drawings(self.members, size, background=ground, zoom=1.0, disk=disk) for ground in ("black", "white")
        )
        return black, white

    def _sample(self, index: int) -> tuple[np.ndarray, str, np.ndarray, np.ndarray]:
        """Pixels (3, size, size), caption, box (4,) and points (4, 2) of a sample."""
        import numpy as np
        import torch

        config, number = self.config, index % len(self.members)
        draw = np.random.default_rng((0 if self.split == "train" else 1, index))
        black, white = (one.read(torch.tensor([number]))[0].permute(1, 2, 0).numpy() for one in self._drawings)
        ink, clear = _cut(black, white)
        height, width = clear.shape
        proportions = np.clip(width / height * draw.uniform(0.8, 1.25), 0.5, 2)
        longer = config.size * draw.uniform(config.least, config.most)
        wide, high = (max(2, round(longer * min(1.0, side))) for side in (proportions, 1 / proportions))
        left, top = (int(draw.integers(0, config.size - side + 1)) for side in (wide, high))
        name = list(GROUNDS)[draw.integers(len(GROUNDS))]
        image = np.empty((config.size, config.size, 3), np.float32)
        image[:] = GROUNDS[name]
        if self._photographs and (index + index // len(self.members)) % 2:  # each drawing stands on both kinds
            name, image = PHOTOGRAPH, self._photographs.cut(draw)
        ink, clear = (_resized(pixels, (wide, high)) for pixels in (ink, clear))
        part = image[top : top + high, left : left + wide]
        part[:] = ink + part * (clear[..., None] / 255)
        box = np.array([left, top, left + wide, top + high]) / config.size
        points = (_outline(clear < 128) + np.array([left, top])) / config.size
        return np.rint(image).clip(0, 255).transpose(2, 0, 1), _caption(self.members[number], name, draw), box, points


def _cut(black: np.ndarray, white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A drawing on black, cut to what is drawn, float32 (H, W, 3), and how much is seen through it, (H, W), to 255."""
    import numpy as np

    clear = (white.astype(np.float32) - black).mean(2)
    rows, columns = np.flatnonzero((clear < 128).any(1)), np.flatnonzero((clear < 128).any(0))
    if not len(rows):  # nothing is drawn, or next to nothing: all of the square
        return black.astype(np.float32), clear
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return black[part].astype(np.float32), clear[part]


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import numpy as np
    from PIL import Image

    if pixels.ndim == 2:
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.HAMMING))
    small = Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.HAMMING)
    return np.asarray(small, dtype=np.float32)


def _outline(drawn: np.ndarray) -> np.ndarray:
    """Leftmost, highest, rightmost and lowest place of what is drawn (H, W), as x and y, float64 (4, 2)."""
    import numpy as np

    if not drawn.any():
        drawn = np.ones_like(drawn)
    rows, columns = np.nonzero(drawn)

    def middle(values: np.ndarray, end: int, others: np.ndarray) -> float:
        return float(np.median(others[values == end])) + 0.5

    left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
    return np.array(
        [
            (left + 0.5, middle(columns, left, rows)),
            (middle(rows, top, columns), top + 0.5),
            (right + 0.5, middle(columns, right, rows)),
            (middle(rows, bottom, columns), bottom + 0.5),
        ]
    )


def _caption(drawing: Drawing, ground: str, draw: np.random.Generator) -> str:
    """``red apple, food, on blue``: the parts in any order, and the words of the name, too, in every second one."""
    words = drawing.text.replace(",", "").split()
    if draw.random() < 0.5:
        draw.shuffle(words)
    parts = [" ".join(words), str(drawing.group), f"on {ground}"]
    draw.shuffle(parts)
    return ", ".join(parts)
