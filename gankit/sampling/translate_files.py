"""Files translated into files: stretched to what a model takes and back, or in tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gankit.data.files import named
from gankit.data.image_files import write_image
from gankit.data.photo import Photo, load_photo
from gankit.device import derive_seed
from gankit.errors import GankitError, UsageError
from gankit.events import Note, OnEvent, Progress, ignore
from gankit.options.spelling import give
from gankit.sampling.conditions import Asked
from gankit.sampling.drawer import Drawer
from gankit.sampling.file_pairs import FilePair
from gankit.sampling.tiles import Tiles
from gankit.sampling.translate import CHUNK, IN_THE_IMAGE, Way, asked_beside, run

if TYPE_CHECKING:
    from gankit.plugin import Batch

Size = Literal["input", "model"]
Fit = Literal["stretch", "tiles"]
FAR = 4
"""How many times the model's side an image may be before it is said that stretching it there loses much."""


def change_files(
    drawer: Drawer,
    way: Way,
    pairs: Sequence[FilePair],
    *,
    given: Mapping[str, Any] | None,
    size: Size,
    fit: Fit,
    overlap: float,
    seed: int,
    overwrite: bool,
    tell: OnEvent = ignore,
) -> list[FilePair]:
    """Writes what becomes of the files of `pairs`, at the size of each `input` or of the `model`.

    An image is stretched to the size that the model takes, and what comes of it back; or it is cut into tiles of that
    size, which `overlap` by so much of a side. A file that cannot be read or written does not keep the others from it:
    its pair comes back with the error, one that is `there` as it is. Where the variant `keeps` what a mask leaves out,
    those pixels are the file's. What a file becomes depends on its place among `pairs` and on `seed`, and not on which
    of them are there.
    """
    channels = way.key.shape[0]
    asked, matched = asked_beside(drawer, way, len(pairs), given, seed, [pair.name for pair in pairs])
    for name, partner in matched.items():
        if partner.left:
            tell(Note(text=f"{name}: no image goes with {named(partner.left)}"))
    if fit == "tiles":
        _check_tiles(drawer, way, asked, size, overlap)
    errors = {index: text for partner in matched.values() for index, text in partner.errors.items()}
    pairs = [replace(pair, conditions=record) for pair, record in zip(pairs, asked.records, strict=True)]
    done = {index: replace(pairs[index], error=text) for index, text in errors.items()}
    done |= {index: pair for index, pair in enumerate(pairs) if pair.there}
    holes = asked.batch.get(drawer.variant.keeps or "") if size == "input" else None
    open_: dict[int, _Open] = {}
    owners: list[int] = []
    shrunk: list[str] = []

    def parts(indices: Sequence[int]) -> Iterator[tuple[int, Batch]]:
        inputs: list[Tensor] = []
        for index in indices:
            pair = pairs[index]
            tell(Progress(what="images", done=index, total=len(pairs)))
            try:
                photo = load_photo(pair.source, channels)
            except GankitError as error:
                done[index] = replace(pair, error=str(error))
                continue
            sides = (way.key.shape[1], way.key.shape[2])
            if fit == "stretch" and max(photo.size) > FAR * max(sides):
                shrunk.append(pair.source.name)
            shown = photo.shown(sides if fit == "stretch" else None)
            open_[index] = _Open(photo, Tiles(shown, sides, overlap) if fit == "tiles" else None)
            for piece in open_[index].tiles or (shown,):
                inputs.append(piece)
                owners.append(index)
                if len(inputs) == CHUNK:
                    yield _part(inputs)
        if inputs:
            yield _part(inputs)

    def _part(inputs: list[Tensor]) -> tuple[int, Batch]:
        batch = {way.image: torch.stack(inputs), **{name: values[owners] for name, values in asked.batch.items()}}
        inputs.clear()
        return len(owners), batch

    left = [index for index in range(len(pairs)) if index not in done]
    # noise of each file's own, so that it does not matter which ones are left
    groups = (
        [([index], derive_seed(seed, f"file-{index}")) for index in left] if drawer.variant.random else [(left, seed)]
    )
    for group, its_seed in groups:
        for images, _ in run(drawer, way, parts(group), its_seed):
            whose = list(owners)
            owners.clear()
            for index, image in zip(whose, images, strict=True):
                if (result := open_[index].with_(image)) is not None:
                    hole = None if holes is None else holes[index]
                    photo = open_.pop(index).photo
                    done[index] = _written(pairs[index], photo, result, size == "input", hole, overwrite)
            for one in open_.values():
                one.tell(tell)
    tell(Progress(what="images", done=len(pairs), total=len(pairs)))
    if shrunk:
        taken = f"{way.key.shape[2]}x{way.key.shape[1]}, the size that the model takes"
        tell(Note(text=f"{named(shrunk)}: shrunk to {taken}; {give('fit', 'tiles')} translates pieces of that size"))
    return [done[index] for index in range(len(pairs))]


@dataclass
class _Open:
    """A photograph of which some tiles, or the whole, are on their way."""

    photo: Photo
    tiles: Tiles | None

    def with_(self, image: Tensor) -> Tensor | None:
        """The whole result, if `image` is the last of it."""
        if self.tiles is None:
            return image
        self.tiles.add(image)
        return self.tiles.joined() if self.tiles.complete else None

    def tell(self, tell: OnEvent) -> None:
        """How many of many tiles are done."""
        if self.tiles is not None and len(self.tiles) > CHUNK:
            tell(Progress(what="tiles", done=self.tiles.added, total=len(self.tiles)))


def _written(
    pair: FilePair, photo: Photo, result: Tensor, own_size: bool, hole: Tensor | None, overwrite: bool
) -> FilePair:
    """`pair`, whose target is written, or that says why not."""
    try:
        pair.target.parent.mkdir(parents=True, exist_ok=True)
        keep = None if hole is None else _kept(photo.size, hole)
        pixels = photo.result(result, pair.target, own_size, keep)
        write_image(pair.target, pixels, overwrite=overwrite, opacity=len(result) != 2)
    except GankitError as error:
        return replace(pair, error=str(error))
    except OSError as error:
        return replace(pair, error=f"cannot write {pair.target}: {error.strerror or error}")
    return pair


def _check_tiles(drawer: Drawer, way: Way, asked: Asked, size: Size, overlap: float) -> None:
    if not 0 <= overlap <= 0.5:
        raise UsageError(f"overlap is a fraction of a tile from 0 to 0.5, got {overlap}.")
    if others := [name for name in asked.batch if asked.keys[name].kind in IN_THE_IMAGE]:
        raise UsageError(f"an image that a {others[0]} goes with cannot be cut into tiles: leave out --fit tiles.")
    if size != "input":
        raise UsageError("tiles are joined at the size of the input: leave out --size model or --fit tiles.")
    if drawer.spec[way.produces].shape[1:] != way.key.shape[1:]:
        what = f"{way.image!r} and {way.produces!r} are of different sizes"
        raise UsageError(f"{what} in this run, so that tiles do not fit together: leave --fit tiles out.")


def _kept(size: tuple[int, int], hole: Tensor) -> Tensor:
    """Where an image of `size` keeps its own pixels, bool (H, W): where the mask `hole` (1, h, w) neither holds nor is
    near, which is a pixel of the model: at its edge the mask is as coarse as that, and what it hides must not show.
    """
    near = F.max_pool2d(hole[None], 3, 1, 1)
    return F.adaptive_max_pool2d(near, size)[0, 0] == 0


__all__ = ["Fit", "Size", "change_files"]
