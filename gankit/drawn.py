"""What is drawn from a training on disk: samples, translations, what lies between, films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gankit.device import resolve_device
from gankit.errors import UsageError
from gankit.events import Note, OnEvent, ignore
from gankit.plugin import Dataset
from gankit.sampling.between import film_between
from gankit.sampling.drawer import Drawer
from gankit.sampling.file_pairs import Existing, FilePair, file_pairs
from gankit.sampling.film import check_film
from gankit.sampling.given import merged
from gankit.sampling.interpolate import interpolate, ways
from gankit.sampling.samples import Samples
from gankit.sampling.translate import change, reconstruction, translation
from gankit.sampling.translate_files import Fit, Size, change_files
from gankit.trained import Trained


class Drawn(Trained):
    """A training on disk, to draw from: :class:`gankit.Run` is one."""

    def sample(
        self,
        n: int | None = None,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        label: int | str | Sequence[int | str] | None = None,
        text: str | Sequence[str] | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """Draw `n` samples; the same for the same `seed`. Without `n`: one an image that is given (with each
        of k classes given, if they are another number), else 16.

        `given` is what the variant is asked with, by key, each value or list of values repeated to `n`: a class by name
        or number, a text, numbers, ``"left,top,right,bottom"`` of a box, an image as a path, a directory, a Pillow
        image, an array or a tensor; see `gankit.sampling.given`. `label` and `text` are short for keys of those names.
        What is not given comes from held-out samples; classes go in turn. `to` is the key out of ``Variant.produces``
        that is drawn, by default the first.
        """
        if n is not None and n < 1:
            raise UsageError(f"n must be at least 1, got {n}.")
        drawer = self._drawer(checkpoint, device)
        asked = drawer.ask(n, to=to, given=merged(given, label=label, text=text), seed=seed)
        try:
            sheet = drawer.ask_for_sheet(asked.n, seed=seed)
        except UsageError:  # the data is gone; the samples need none of it
            sheet = None
        return drawer.samples(asked, sheet, seed=seed, to=to, checkpoint=self.directory.resolve(checkpoint))

    def translate(
        self,
        images: Any,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """What becomes of `images` (paths, Pillow images, arrays, tensors) where the variant asks for one.

        Stretched to the size that the model takes. `given` is what else it is asked with; see :meth:`sample`.
        """
        drawer = self._drawer(checkpoint, device)
        way = translation(drawer, to)
        return change(drawer, way, images, given=given, seed=seed, checkpoint=self.directory.resolve(checkpoint))

    def reconstruct(
        self,
        images: Any,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """`images` encoded and decoded again, where the variant can. For the rest see :meth:`translate`."""
        drawer = self._drawer(checkpoint, device)
        way = reconstruction(drawer, to)
        return change(drawer, way, images, given=given, seed=seed, checkpoint=self.directory.resolve(checkpoint))

    def change_files(
        self,
        how: Literal["translate", "reconstruct"],
        source: str | Path,
        out: str | Path,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        size: Size = "input",
        fit: Fit = "stretch",
        overlap: float = 0.25,
        existing: Existing = "refuse",
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
        on_event: OnEvent | None = None,
    ) -> list[FilePair]:
        """Translate or reconstruct an image file, or all of a directory and its sub-directories, into files.

        Names are kept if `out` is a directory; each file is written in the format that its name says, with the opacity
        (unless the model draws its own) and, of grey, the 16 bits of its source. An image is stretched to what the
        model takes, and the result to the size of the `input` (or left at the `model`'s); or it is cut into tiles, of
        which neighbours `overlap` by such a fraction of a side. Files that are there are replaced or kept, or all is
        refused (`existing`). What cannot be read or written comes back with its error.
        """
        tell = on_event or ignore
        drawer = self._drawer(checkpoint, device)
        way = (translation if how == "translate" else reconstruction)(drawer, to)
        pairs, problems = file_pairs(Path(source).expanduser(), Path(out).expanduser(), existing=existing)
        for text in problems:
            tell(Note(text=text))
        how_: Any = {"size": size, "fit": fit, "overlap": overlap, "overwrite": existing == "replace"}
        return change_files(drawer, way, pairs, given=given, seed=seed, tell=tell, **how_)

    def interpolate(
        self,
        images: Any = None,
        *,
        texts: Sequence[str] = (),
        rows: int = 4,
        frames: int = 8,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """`rows` of `frames` samples between two random codes, or each of `images` or captions and the next."""
        return interpolate(
            self._drawer(checkpoint, device),
            images,
            texts=texts,
            rows=rows,
            frames=frames,
            given=given,
            to=to,
            seed=seed,
            checkpoint=self.directory.resolve(checkpoint),
        )

    def film(
        self,
        out: str | Path,
        images: Any = None,
        *,
        texts: Sequence[str] = (),
        rows: int = 4,
        frames: int = 48,
        rate: float = 24.0,
        loop: bool = False,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
        overwrite: bool = False,
    ) -> int:
        """:meth:`interpolate` as a film, .mp4 (the extra ``video``), .gif, .webp or .apng; the number of its frames.

        `frames` for each way, `rate` a second. Random codes go side by side, images and captions one after another.
        With `loop` the end leads to the beginning.
        """
        path = Path(out).expanduser()
        check_film(path, overwrite=overwrite)
        drawer = self._drawer(checkpoint, device)
        found = ways(drawer, images, texts=texts, rows=rows, given=given, to=to, seed=seed, closed=loop)
        how: Any = {"frames": frames, "rate": rate, "loop": loop, "overwrite": overwrite}
        return film_between(found, self.spec, path, **how)

    def _drawer(self, checkpoint: str, device: str) -> Drawer:
        networks = self.networks(checkpoint, device)
        return Drawer(self.variant, networks, self.spec, self._rows, resolve_device(device))

    def _rows(self) -> Sequence[Dataset[Any]]:
        """Where conditions are taken from: the held-out split, or the training split of a dataset without one."""
        test = self.dataset("test")
        return [test] if all(test.streams().values()) else [test, self.dataset()]


__all__ = ["Drawn"]
