"""Dataset ``captioned-folder``: a directory of images with captions beside them."""

from __future__ import annotations

import codecs
import json
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.data.files import Root, directory, held_out, lines, list_images, named
from gankit.data.folder import READING, FolderConfig, image_store
from gankit.errors import UsageError
from gankit.files import read_regular
from gankit.plugin import Dataset, DataSpec, Key

if TYPE_CHECKING:
    from torch import Tensor

    from gankit.data.store import ImageStore
    from gankit.events import OnEvent
    from gankit.plugin import Batch

METADATA = "metadata.jsonl"


class CaptionedFolderConfig(FolderConfig):
    """Options of the dataset ``captioned-folder``."""

    root: Root = ""
    """Directory of images with metadata.jsonl (`file_name`, `text`), or with a .txt of the same name beside each."""
    size: int = Field(64, ge=16, le=4096)
    """Height and width that images are brought to."""
    text_length: int = Field(200, ge=16, le=4096)
    """Bytes kept of a caption."""
    test_fraction: float = Field(0.1, ge=0, le=0.5)
    """Part of the images kept for testing, chosen by file name."""


class CaptionedFolder(Dataset[CaptionedFolderConfig]):
    """Images with captions: metadata.jsonl, or a .txt an image, several lines being several captions.

    ``image``: uint8 (N, channels, size, size). ``text``: uint8 (N, text_length), UTF-8. A sample is an image with one
    of its captions, so an image with five captions counts five times; all of them are in the same split. Entries that
    cannot be used are left out, counted and named.
    """

    Config = CaptionedFolderConfig
    reading = READING
    holds: ClassVar[str] = "images"
    """What ``data.root`` is a directory of."""
    remedy: ClassVar[str] = f"give {METADATA} with file_name and text, or a .txt beside each image"
    """What to do where there are no captioned images."""

    def __init__(self, config: CaptionedFolderConfig, split: Literal["train", "test"] = "train") -> None:
        super().__init__(config, split)
        self._root = directory(config.root, "data.root", self.holds)
        self._found = self._find(self._root)
        if not self._found.captions:
            reasons = "; ".join(self._found.notes()) or "no images"
            raise UsageError(f"data.root: no captioned images in {self._root}: {reasons}; {self.remedy}")

    def _find(self, root: Path) -> Found:
        """The images below `root` and what is said of them."""
        return find_captions(root)

    def _held_out(self, files: Sequence[str]) -> set[str]:
        """Those of `files` that are kept for testing; none: both splits are all files."""
        return set(held_out(files, self.config.test_fraction))

    @property
    def spec(self) -> DataSpec:
        config = self.config
        return DataSpec(
            keys={
                "image": Key(kind="image", shape=config.shape),
                "text": Key(kind="text", shape=(config.text_length,)),
            }
        )

    @property
    def in_memory(self) -> bool:  # type: ignore[override]
        return self._store.in_memory

    def __len__(self) -> int:
        return len(self._rows[0])

    def load(self, tell: OnEvent) -> None:
        self._store.load(tell)

    def batch(self, indices: Tensor) -> Batch:
        import torch

        image, text = self._rows
        wanted = image[indices]
        pictures, found = self._store.read(wanted)
        if found is not wanted:
            # in place of an image that cannot be read stands another: with its own first caption
            indices = torch.where(found == wanted, indices, torch.searchsorted(image, found))
        return {"image": pictures, "text": text[indices]}

    def notes(self) -> list[str]:
        from gankit.data.text import cut_notes

        texts = [text for texts in self._found.captions.values() for text in texts]
        of_all = [*self._found.notes(), *cut_notes(texts, self.config.text_length)]
        return [*of_all, *(f"{self.split} split: {note}" for note in self._store.notes())]

    def files(self) -> tuple[str, ...]:
        """The split's images, relative to ``data.root``."""
        return self._store.files

    def source(self, index: int, stream: str = "") -> str | None:
        return self._store.source(int(self._rows[0][index]))

    def fingerprint(self) -> str:
        from gankit.data.fingerprint import fingerprint

        captions = ["\n".join(self._found.captions[file]) for file in self._store.files]
        return fingerprint(self._root, self._store.files, captions, "caption")

    @cached_property
    def _store(self) -> ImageStore:
        files = sorted(self._found.captions)
        test = self._held_out(files)
        chosen = [file for file in files if not test or (file in test) == (self.split == "test")]
        return image_store(self.config, self._root, chosen, self.split)

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        """For each sample the number of its image, int64 (N,), ascending, and its caption, uint8 (N, bytes)."""
        import torch

        from gankit.data.text import encode_text

        rows = [(number, text) for number, file in enumerate(self._store.files) for text in self._found.captions[file]]
        texts = encode_text([text for _, text in rows], self.config.text_length)
        return torch.tensor([number for number, _ in rows], dtype=torch.int64), texts


@dataclass
class Found:
    """What a directory says about its images."""

    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Captions by image file, relative to the directory."""
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Where something was wrong, by what was wrong."""

    def add(self, problem: str, where: str) -> None:
        self.problems.setdefault(problem, []).append(where)

    def read(self, path: Path) -> str:
        """A text file; bytes that are not UTF-8 are replaced and told of."""
        try:
            data = read_regular(path)
        except OSError as error:
            self.add("files cannot be read", f"{path.name} ({error.strerror})")
            return ""
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what Windows calls Unicode
        try:
            return data.decode("utf-16" if utf16 else "utf-8-sig")
        except UnicodeDecodeError:
            self.add("files are not UTF-8 (what does not fit is replaced)", path.name)
            return data.decode("utf-8-sig", "replace")

    def read_captions(self, path: Path, root: Path) -> tuple[str, ...]:
        """The lines of the text file `path` below `root` that say something."""
        texts = tuple(text for line in lines(self.read(path)) if (text := " ".join(line.split())))
        if not texts:
            self.add("captions are empty", path.relative_to(root).as_posix())
        return texts

    def notes(self) -> list[str]:
        """One line a kind of problem: how many, and the first few."""
        return [f"{len(places)} {problem}: {named(places)}" for problem, places in self.problems.items()]


def find_captions(root: Path) -> Found:
    """The captions of the images below `root`: from metadata.jsonl if there is one, else from .txt files."""
    listing = list_images(root)
    found = Found()
    for problem in listing.problems:
        found.add("things are left out", problem)
    known = set(listing.files)
    if (root / METADATA).exists():
        captions = _from_metadata(root, known, found)
    else:
        captions = {file: _from_text(root, file, found) for file in listing.files}
    found.captions = {file: texts for file, texts in captions.items() if texts}
    return found


def _from_metadata(root: Path, known: set[str], found: Found) -> Mapping[str, tuple[str, ...]]:
    """`text` is a caption or a list of them; the same `file_name` may stand in several lines."""
    captions: dict[str, list[str]] = {}
    spelt = {_composed(name): name for name in known}
    for number, line in enumerate(lines(found.read(root / METADATA)), 1):
        if not line.strip():
            continue
        where = f"{METADATA} line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            found.add("lines are not JSON", where)
            continue
        name = entry.get("file_name") if isinstance(entry, dict) else None
        text = entry.get("text") if isinstance(entry, dict) else None
        texts = [text] if isinstance(text, str) else text
        if not isinstance(name, str) or not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            found.add("lines lack file_name or text", where)
            continue
        name = Path(os.path.normpath(name)).as_posix()
        name = name if name in known else spelt.get(_composed(name), name)
        texts = [" ".join(text.split()) for text in texts if text.strip()]
        if name not in known:
            found.add("captions name an image that is not there", f"{where} ({name})")
        elif not texts:
            found.add("captions are empty", where)
        else:
            captions.setdefault(name, []).extend(texts)
    for name in sorted(known - captions.keys()):
        found.add("images have no caption", name)
    return {name: tuple(texts) for name, texts in captions.items()}


def _composed(name: str) -> str:
    """`name` with accents as parts of their letters; some systems and archives take them apart."""
    return unicodedata.normalize("NFC", name)


def _from_text(root: Path, file: str, found: Found) -> tuple[str, ...]:
    """The lines of the .txt beside the image `file`."""
    path = (root / file).with_suffix(".txt")
    if not path.exists():
        found.add("images have no caption", file)
        return ()
    return found.read_captions(path, root)
