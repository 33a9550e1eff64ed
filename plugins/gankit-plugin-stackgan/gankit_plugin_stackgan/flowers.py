"""Dataset ``oxford-flowers``: the 102 flowers of Oxford with the captions that Reed et al. 2016 collected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gankit.data.files import directory, lines, list_images
from gankit.errors import UsageError
from gankit_plugin_stackgan.folder import CaptionedFolder, Found

__all__ = ["OxfordFlowers"]

IMAGES, CAPTIONS = "jpg", "text_c10"
HELD_OUT = "testclasses.txt"
HOLDS = f"Oxford-102, with {IMAGES} and {CAPTIONS} in it"


class OxfordFlowers(CaptionedFolder):
    """102 kinds of flowers, about 8,200 photographs with ten captions each, as they are distributed.

    ``image``: uint8 (N, channels, size, size). ``text``: uint8 (N, text_length), UTF-8; each caption is a sample, and
    all of an image are in the same split. ``data.root`` holds ``jpg/image_00001.jpg`` and
    ``text_c10/class_00001/image_00001.txt``, a caption a line. Held out are the classes that ``testclasses.txt`` names
    (20 in the published split), where that is there, beside ``text_c10`` or in it; else a part of the files.
    """

    holds = HOLDS
    remedy = f"give {IMAGES}/image_00001.jpg and its captions {CAPTIONS}/class_00001/image_00001.txt, and so on"

    def _find(self, root: Path) -> Found:
        pictures, texts = (directory(root / part, "data.root", self.holds) for part in (IMAGES, CAPTIONS))
        found, self._class = Found(), dict[str, str]()
        said = {path.stem.lower(): path for path in sorted(texts.glob("*/*.txt"))}
        listing = list_images(pictures)
        for problem in listing.problems:
            found.add("things are left out", problem)
        for file in listing.files:
            name = f"{IMAGES}/{file}"
            path = said.get(Path(file).stem.lower())
            if path is None:
                found.add("images have no caption", name)
            elif captions := found.read_captions(path, root):
                found.captions[name] = captions
                self._class[name] = path.parent.name
        return found

    def _held_out(self, files: Sequence[str]) -> set[str]:
        listed = [path for path in (self._root / HELD_OUT, self._root / CAPTIONS / HELD_OUT) if path.is_file()]
        if not listed:
            return super()._held_out(files)
        classes = {line.strip() for line in lines(self._found.read(listed[0])) if line.strip()}
        test = {file for file in files if self._class[file] in classes}
        if not test or len(test) == len(files):
            known = sorted(set(self._class.values()))
            raise UsageError(
                f"{listed[0]} names {'all' if test else 'none'} of the classes that have images; "
                f"it should name some of {known[0]} to {known[-1]}, one a line"
            )
        return test
