"""Dataset ``cub``: Caltech-UCSD Birds 200-2011 as it is distributed, with boxes, parts and captions."""

from __future__ import annotations

from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from gankit.data.files import Root, directory, lines, named
from gankit.data.folder import READING, PicturesConfig, image_store
from gankit.errors import UsageError
from gankit.plugin import Dataset, DataSpec, Key

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gankit.data.store import ImageStore
    from gankit.events import OnEvent
    from gankit.plugin import Batch

__all__ = ["CUB", "CUBConfig"]

CAPTIONS = ("text_c10", "text")
"""Directories of captions, a .txt an image with a line each, as Reed et al. 2016 distribute them."""


class CUBConfig(PicturesConfig):
    """Options of the dataset ``cub``."""

    root: Root = ""
    """Directory CUB_200_2011, with images.txt, and text_c10 for captions (of Reed et al. 2016) if there are any."""
    size: int = Field(128, ge=16, le=512)
    """Height and width that images are stretched to."""
    width: None = None
    """Images are squares."""
    fit: Literal["stretch"] = "stretch"
    """Boxes and parts are fractions of whole images."""
    text_length: int = Field(200, ge=16, le=4096)
    """Bytes kept of a caption."""


class CUB(Dataset[CUBConfig]):
    """Birds with the box around each, 15 parts and captions: what GAWWN was published on.

    ``image``: uint8 (N, 3, size, size). ``text``: UTF-8, one of an image's captions, or the name of its species where
    it has none. ``label``: int64 (N,), the species. ``box``: float32 (N, 4). ``points``: float32 (N, 15, 3), parts, and
    whether each is visible. Splits are those of train_test_split.txt.
    """

    Config = CUBConfig
    reading = READING

    def __init__(self, config: CUBConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._root = directory(config.root, "data.root", "CUB_200_2011")
        self._names = tuple(name.partition(".")[2] or name for name in _numbered(self._root / "classes.txt"))
        self._parts = tuple(_numbered(self._root / "parts" / "parts.txt"))
        self._paths = _table(self._root / "images.txt")
        training = _table(self._root / "train_test_split.txt")
        wanted = "1" if split == "train" else "0"
        self._ids = [number for number in self._paths if training.get(number) == wanted]
        if not self._ids:
            raise UsageError(f"{self._root / 'train_test_split.txt'}: no images for split {split}")

    @property
    def spec(self) -> DataSpec:
        size, number = self.config.size, len(self._parts)
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=(3, size, size)),
                "text": Key(kind="text", shape=(self.config.text_length,)),
                "label": Key(kind="class", names=self._names),
                "box": Key(kind="box", shape=(4,)),
                "points": Key(kind="points", shape=(number, 3), mirror=_mirror(self._parts)),
            }
        )

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return self._store.in_memory

    def __len__(self) -> int:
        return len(self._store) * self._most

    def load(self, tell: OnEvent) -> None:
        self._store.load(tell)
        self._known  # noqa: B018  # here rather than in a thread that waits with a batch

    def batch(self, indices: Tensor) -> Batch:
        import torch

        from gankit.data.text import encode_text

        count = len(self._store)
        images, found = self._store.read(indices % count)
        texts = [
            self._captions[row][turn % len(self._captions[row])]
            for row, turn in zip(found.tolist(), (indices // max(1, count)).tolist(), strict=True)
        ]
        labels, boxes, points = self._known
        return {
            "image": images,
            "text": encode_text(texts, self.config.text_length),
            "label": torch.from_numpy(labels)[found],
            "box": torch.from_numpy(boxes)[found],
            "points": torch.from_numpy(points)[found],
        }

    def notes(self) -> list[str]:
        from gankit.data.text import cut_notes

        said = [text for texts in self._captions for text in texts]
        without = [file for file, texts in zip(self._store.files, self._found, strict=True) if not texts]
        notes = [*self._store.notes(), *cut_notes(said, self.config.text_length)]
        notes = [f"{self.split} split: {note}" for note in notes]
        if without:
            notes.append(f"{len(without)} images have no captions, and are called by their species: {named(without)}")
        return notes

    def source(self, index: int, stream: str = "") -> str:
        return self._store.source(index % len(self._store))

    def fingerprint(self) -> str:
        from gankit.data.fingerprint import fingerprint

        labels, boxes, points = self._known
        said = [
            repr(("\n".join(texts), int(label), box.tolist(), parts.tolist()))
            for texts, label, box, parts in zip(self._captions, labels, boxes, points, strict=True)
        ]
        return fingerprint(self._root / "images", self._store.files, said, "caption")

    @cached_property
    def _store(self) -> ImageStore:
        return image_store(self.config, self._root / "images", [self._paths[one] for one in self._ids], self.split)

    @cached_property
    def _chosen(self) -> list[str]:
        """The numbers of the store's images."""
        number = {path: one for one, path in self._paths.items()}
        return [number[file] for file in self._store.files]

    @cached_property
    def _found(self) -> list[list[str]]:
        """The captions that the files hold, of each image."""
        folder = next((self._root / name for name in CAPTIONS if (self._root / name).is_dir()), None)
        return [_captions(folder, file) for file in self._store.files]

    @cached_property
    def _captions(self) -> list[list[str]]:
        labels = self._known[0]
        return [
            texts or [self._names[label].replace("_", " ").lower()]
            for texts, label in zip(self._found, labels.tolist(), strict=True)
        ]

    @cached_property
    def _most(self) -> int:
        return max(map(len, self._captions), default=1)

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels (N,), boxes (N, 4) and parts (N, 15, 3) of the store's images, places as fractions of them."""
        import numpy as np
        from PIL import Image

        root, count = self._root, len(self._parts)
        labels = _table(root / "image_class_labels.txt")
        boxes = _numbers(root / "bounding_boxes.txt", 1, 4)
        parts = _numbers(root / "parts" / "part_locs.txt", 2, 3)
        label, box = np.zeros(len(self._chosen), np.int64), np.zeros((len(self._chosen), 4), np.float32)
        points = np.zeros((len(self._chosen), count, 3), np.float32)
        for row, number in enumerate(self._chosen):
            what = f"{root}: image {number} ({self._paths[number]})"
            if not labels.get(number, "").isdigit() or not 1 <= int(labels[number]) <= len(self._names):
                raise UsageError(f"{what} has no class, or none of {len(self._names)}: {labels.get(number, 'none')}")
            if number not in boxes or min(boxes[number][2:]) < 0:
                raise UsageError(f"{what} has no box, or one without a side: {boxes.get(number, 'none')}")
            label[row] = int(labels[number]) - 1
            try:
                with Image.open(root / "images" / self._paths[number]) as image:
                    size = np.array(image.size, np.float32)
            except Exception:  # in its place stands another image
                continue
            corner, extent = np.array(boxes[number]).reshape(2, 2)
            box[row] = np.concatenate([corner / size, (corner + extent) / size]).clip(0, 1)
            for part in range(count):
                x, y, visible = parts.get(f"{number} {part + 1}", (0.0, 0.0, 0.0))
                if visible > 0:  # of one that is not seen the place says nothing
                    points[row, part] = (*(np.array([x, y]) / size).clip(0, 1), 1.0)
        return label, box, points


def _rows(path: Path, keys: int) -> dict[str, list[str]]:
    """The words of each line of a table by its first ones; :class:`UsageError` if it is not there, or no text."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{path}: cannot be read ({reason}); data.root is the directory CUB_200_2011") from None
    rows = {}
    for number, line in enumerate(lines(text), 1):
        words = line.split()
        if words and len(words) <= keys:
            raise UsageError(f"{path}, line {number}: {line!r} has too few words")
        if words:
            rows[" ".join(words[:keys])] = words[keys:]
    return rows


def _numbered(path: Path) -> list[str]:
    """The names of a table whose lines are numbered from 1, in any order."""
    rows = _rows(path, 1)
    wanted = [str(number) for number in range(1, len(rows) + 1)]
    if not rows or (missing := [number for number in wanted if number not in rows]):
        raise UsageError(f"{path}: its lines are not numbered from 1 on: {missing[0] if rows else 'all'} missing")
    return [" ".join(rows[number]) for number in wanted]


def _table(path: Path) -> dict[str, str]:
    """The second word of each line by the first."""
    return {key: words[0] for key, words in _rows(path, 1).items()}


def _numbers(path: Path, keys: int, count: int) -> dict[str, tuple[float, ...]]:
    """`count` numbers of each line by its first words."""
    numbers = {}
    for key, words in _rows(path, keys).items():
        try:
            numbers[key] = tuple(float(word) for word in words[:count])
        except ValueError:
            numbers[key] = ()
        if len(numbers[key]) < count or not all(map(isfinite, numbers[key])):
            raise UsageError(f"{path}: {key} {' '.join(words)}: not {count} numbers")
    return numbers


def _captions(folder: Path | None, file: str) -> list[str]:
    path = None if folder is None else (folder / file).with_suffix(".txt")
    if path is None or not path.is_file():
        return []
    return [line.strip() for line in lines(path.read_text("utf-8", errors="replace")) if line.strip()]


def _mirror(parts: tuple[str, ...]) -> tuple[int, ...]:
    """Which part stands in the place of each when left and right change places."""
    swapped = {"left": "right", "right": "left"}
    others = [" ".join(swapped.get(word, word) for word in part.split()) for part in parts]
    return tuple(parts.index(other) if other in parts else number for number, other in enumerate(others))
