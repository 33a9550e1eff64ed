"""Images to images: translated, or encoded and decoded again, in memory or file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gankit.data.files import SUFFIXES, list_images, named
from gankit.data.images import load, resize, to_float, to_tensor, to_uint8, write_image
from gankit.data.kinds import kind_of
from gankit.errors import GankitError, UsageError
from gankit.events import Note, OnEvent, Progress, ignore
from gankit.plugin import Key, SampleRequest
from gankit.sampling.conditions import Asked, asked_keys, choose, fill, has_rows
from gankit.sampling.draw import called, checked, defines, sampler
from gankit.sampling.drawer import Drawer, beside
from gankit.sampling.partners import Partners, partners
from gankit.sampling.pictures import read_images
from gankit.sampling.samples import Samples
from gankit.sampling.sheets import Layout

if TYPE_CHECKING:
    from gankit.plugin import Batch
    from gankit.sampling.draw import Draw

CHUNK = 16
"""Most files that are held at once."""

Size = Literal["input", "model"]


@dataclass(frozen=True)
class FilePair:
    """An image file, and the one that it becomes; `error` says why it was not written, if it was not."""

    source: Path
    target: Path
    error: str = ""
    name: str = ""
    """Of the source, relative to the directory that was given."""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """What the model was asked with beside the image, by key: the file or the row that it came from, or its value."""


@dataclass(frozen=True)
class Way:
    """From images of the key `image` to images of the key `produces`."""

    image: str
    key: Key
    """Of that; images are brought to its shape."""
    produces: str
    method: Draw
    name: str
    """Of the plugin's method, for errors."""


def translation(drawer: Drawer, to: str | None) -> Way:
    """By ``sample()`` of a variant that asks for one image; :class:`UsageError` if it does not."""
    produces, who = choose(drawer.variant, to), type(drawer.variant).__name__
    keys = asked_keys(drawer.variant, drawer.spec, produces)
    images = [name for name, key in keys.items() if key.kind == "image"]
    _check_produces(drawer, produces, "translate")
    if len(images) != 1:
        asks = f"{len(images)} images ({', '.join(images)}): see `gankit sample --given`" if images else "no image"
        raise UsageError(f"{who} cannot translate: to draw {produces!r} it asks for {asks}.")
    return Way(images[0], keys[images[0]], produces, sampler(drawer.variant, drawer.networks), "sample()")


def reconstruction(drawer: Drawer, to: str | None) -> Way:
    """By ``encode()`` and ``decode()``; :class:`UsageError` if the variant lacks one."""
    variant, networks = drawer.variant, drawer.networks
    if not defines(variant, "encode", "decode"):
        raise UsageError(f"{type(variant).__name__} cannot reconstruct: it does not encode images and decode them.")
    produces = choose(variant, to)
    _check_produces(drawer, produces, "reconstruct")

    def method(request: SampleRequest) -> Any:
        return variant.decode(networks, variant.encode(networks, request.batch), request)

    return Way(produces, drawer.spec[produces], produces, method, "decode()")


def _check_produces(drawer: Drawer, produces: str, what: str) -> None:
    if produces not in drawer.spec.images:
        raise UsageError(f"{type(drawer.variant).__name__} cannot {what}: it draws no images.")


def change(
    drawer: Drawer, way: Way, images: Any, *, given: Mapping[str, Any] | None, seed: int, checkpoint: str = ""
) -> Samples:
    """What becomes of `images`, as :func:`~gankit.sampling.pictures.read_images` takes them, stretched to the model."""
    sources = list(images) if isinstance(images, list | tuple) else [images]
    inputs, origins = read_images(way.image, way.key.shape, sources, fit="stretch")
    if not len(inputs):
        raise UsageError("no images: an empty list; give at least one.")
    asked, matched = _others(drawer, way, len(inputs), given, seed, _names(sources, origins))
    for partner in matched.values():
        if partner.errors:
            raise UsageError(next(iter(partner.errors.values())))
    records = [{way.image: origin, **record} for origin, record in zip(origins, asked.records, strict=True)]
    whole = replace(asked, batch={way.image: inputs, **asked.batch}, keys={way.image: way.key, **asked.keys})
    parts = ((len(rows), whole.part(at, at + len(rows))) for at, rows in _chunks(inputs))
    values = torch.cat([part for part, _ in _run(drawer, way, parts, seed)])
    rows = [{"seed": seed, "index": index, **record} for index, record in enumerate(records)]
    return Samples(values, rows, checkpoint, layout=Layout(panels=beside(whole, way.produces, values)))


def change_files(
    drawer: Drawer,
    way: Way,
    pairs: Sequence[FilePair],
    *,
    given: Mapping[str, Any] | None,
    size: Size,
    seed: int,
    overwrite: bool,
    tell: OnEvent = ignore,
) -> list[FilePair]:
    """Writes what becomes of the files of `pairs`, at the size of each `input` or of the `model`.

    A file that cannot be read or written does not keep the others from it: its pair comes back with the error. An image
    is stretched to the size that the model takes, and what comes of it back. Where the variant `keeps` what a mask
    leaves out, those pixels are the file's own.
    """
    channels = way.key.shape[0]
    for name, number in ((way.image, channels), (way.produces, drawer.spec[way.produces].shape[0])):
        if number not in (1, 3):
            raise UsageError(f"this run's images of {name!r} have {number} channels, which no file has.")
    asked, matched = _others(drawer, way, len(pairs), given, seed, [pair.name for pair in pairs])
    for name, partner in matched.items():
        if partner.left:
            tell(Note(text=f"{name}: no image goes with {named(partner.left)}"))
    errors = {index: text for partner in matched.values() for index, text in partner.errors.items()}
    pairs = [replace(pair, conditions=record) for pair, record in zip(pairs, asked.records, strict=True)]
    done = {index: replace(pairs[index], error=text) for index, text in errors.items()}
    sizes: dict[int, tuple[int, int]] = {}
    holes = asked.batch.get(drawer.variant.keeps or "") if size == "input" else None
    whole: dict[int, Image.Image] = {}

    def parts() -> Iterator[tuple[int, Batch]]:
        for start in range(0, len(pairs), CHUNK):
            tell(Progress(what="images", done=start, total=len(pairs)))
            sizes.clear()
            whole.clear()
            inputs = []
            for index in range(start, min(start + CHUNK, len(pairs))):
                if index in done:
                    continue
                try:
                    image = load(pairs[index].source, channels)
                except GankitError as error:
                    done[index] = replace(pairs[index], error=str(error))
                    continue
                sizes[index] = (image.height, image.width)
                if holes is not None:
                    whole[index] = image
                inputs.append(to_float(to_tensor(resize(image, (way.key.shape[1], way.key.shape[2]), "stretch"))))
            if inputs:
                chosen = list(sizes)
                rows = {name: values[chosen] for name, values in asked.batch.items()}
                yield len(inputs), {way.image: torch.stack(inputs), **rows}

    for images, _ in _run(drawer, way, parts(), seed):
        for (index, own), image in zip(sizes.items(), images, strict=True):
            pair = pairs[index]
            try:
                pair.target.parent.mkdir(parents=True, exist_ok=True)
                pixels = _sized(image, own if size == "input" else None)
                if holes is not None:
                    pixels = _kept(pixels, whole[index], holes[index])
                write_image(pair.target, pixels, overwrite=overwrite)
            except GankitError as error:
                pair = replace(pair, error=str(error))
            except OSError as error:
                pair = replace(pair, error=f"cannot write {pair.target}: {error.strerror or error}")
            done[index] = pair
    tell(Progress(what="images", done=len(pairs), total=len(pairs)))
    return [done[index] for index in range(len(pairs))]


def file_pairs(source: Path, out: Path, *, overwrite: bool) -> tuple[list[FilePair], tuple[str, ...]]:
    """The image files that `source` is, or holds in itself and its sub-directories, and what they become in `out`.

    Names are kept, those of sub-directories too. Also what a user should know of files that are passed over.
    :class:`UsageError`, before anything is written, if there are none, if `out` has another kind of name, or, unless
    told to `overwrite`, a file that is there already.
    """
    problems: tuple[str, ...] = ()
    if source.is_dir():
        listing = list_images(source)
        if not listing.files:
            raise UsageError(f"no images in {source}: found {listing.describe_others()}")
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file, and {source} is a directory. Give another OUT.")
        pairs = [FilePair(source / file, out / file, name=file) for file in listing.files]
        problems = listing.problems
    elif not os.path.lexists(source):
        raise UsageError(f"there is no file or directory {source}")
    else:
        pairs = [FilePair(source, out / source.name if out.is_dir() or not out.suffix else out, name=source.name)]
    for pair in pairs:
        if pair.target.suffix.lower() not in SUFFIXES:
            endings = " ".join(sorted(SUFFIXES))
            raise UsageError(f"{pair.target}: not the name of an image; let it end in one of {endings}")
        if pair.target.exists() and pair.target.samefile(pair.source):
            raise UsageError(f"{pair.target} would replace the image that it is made of. Give another OUT.")
        if pair.target.exists() and not overwrite:
            raise UsageError(f"{pair.target} exists already. Give another OUT, or --overwrite.")
    return pairs, problems


_IN_THE_IMAGE = ("image", "mask", "box", "points")
"""Kinds that say something of the image itself: those of another image are no stand-in."""


def _others(
    drawer: Drawer, way: Way, n: int, given: Mapping[str, Any] | None, seed: int, names: Sequence[str] | None
) -> tuple[Asked, dict[str, Partners]]:
    """`n` rows of what is asked for beside the image, and which of them are pictures that go with the images."""
    who, given = type(drawer.variant).__name__, dict(given or {})
    keys = asked_keys(drawer.variant, drawer.spec, way.produces)
    keys.pop(way.image, None)
    if way.image in given:
        raise UsageError(f"{way.image!r} is what the images themselves are (IN): leave out --given {way.image}=...")
    pictures = [name for name in given if name in keys and kind_of(keys[name]).pixels]
    matched = {name: partners(name, keys[name], given.pop(name), n, names) for name in pictures}
    rest = {name: key for name, key in keys.items() if name not in matched}
    for name, key in rest.items():
        known = has_rows(drawer.spec, name, key)
        if key.kind in _IN_THE_IMAGE and name not in given and (known or name == drawer.variant.keeps):
            value = "FILE" if kind_of(key).pixels else kind_of(key).written.partition(" ")[0]
            raise UsageError(
                f"{who} asks for a {name} with each image{', and one of the data is of another image' * known}: "
                f"give --given {name}={value} ({kind_of(key).written})."
            )
    asked = fill(who, rest, drawer.spec, n, given=given, rows=drawer.rows, seed=seed)
    for name, partner in matched.items():
        for record, value in zip(asked.records, partner.records, strict=True):
            record[name] = value
    batch = {**asked.batch, **{name: partner.rows for name, partner in matched.items()}}
    return replace(asked, batch=batch, keys=keys, given=asked.given | matched.keys()), matched


def _names(sources: Sequence[Any], origins: Sequence[Any]) -> list[str] | None:
    """The relative paths of images that all are files; else None."""
    if not all(isinstance(origin, str) for origin in origins):
        return None
    root = Path(sources[0]).expanduser()
    inside = len(sources) == 1 and root.is_dir()
    return [os.path.relpath(origin, root) if inside else Path(origin).name for origin in origins]


def _chunks(inputs: Tensor) -> Iterator[tuple[int, Tensor]]:
    return ((start, inputs[start : start + CHUNK]) for start in range(0, len(inputs), CHUNK))


def _run(drawer: Drawer, way: Way, parts: Iterator[tuple[int, Batch]], seed: int) -> Iterator[tuple[Tensor, int]]:
    who = type(drawer.variant).__name__
    settings: Any = {"seed": seed, "device": drawer.device, "produces": way.produces}
    for images, size in called(way.method, drawer.networks, drawer.spec, parts, **settings):
        yield checked(images, size, drawer.spec, way.produces, who, way.name), size


def _kept(pixels: Tensor, source: Image.Image, hole: Tensor) -> Tensor:
    """`pixels` (H, W, C) where the mask `hole` (1, h, w) holds or is near, elsewhere those of `source`.

    Near is a pixel of the model: at its edge the mask is as coarse as that, and what it hides must not show through.
    """
    near = F.max_pool2d(hole[None], 3, 1, 1)
    holds = F.adaptive_max_pool2d(near, tuple(pixels.shape[:2]))[0, 0, ..., None] > 0
    own = to_tensor(source.convert("L" if pixels.shape[2] == 1 else "RGB")).permute(1, 2, 0)
    return torch.where(holds, pixels, own)


def _sized(image: Tensor, size: tuple[int, int] | None) -> Any:
    """A float image (C, H, W) as bytes (H, W, C), stretched to (height, width)."""
    pixels = to_uint8(image).permute(1, 2, 0)
    if size is None or tuple(pixels.shape[:2]) == size:
        return pixels
    return to_tensor(resize(Image.fromarray(pixels.squeeze(2).numpy()), size, "stretch")).permute(1, 2, 0)


__all__ = ["FilePair", "Size", "Way", "change", "change_files", "file_pairs", "reconstruction", "translation"]
