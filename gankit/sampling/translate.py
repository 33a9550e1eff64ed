"""Images to images: translated, or encoded and decoded again, in memory or file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.kinds import kind_of
from gankit.errors import UsageError
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
"""Most images, or tiles of them, that a model is given at once."""


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
    asked, matched = asked_beside(drawer, way, len(inputs), given, seed, _names(sources, origins))
    for partner in matched.values():
        if partner.errors:
            raise UsageError(next(iter(partner.errors.values())))
    records = [{way.image: origin, **record} for origin, record in zip(origins, asked.records, strict=True)]
    whole = replace(asked, batch={way.image: inputs, **asked.batch}, keys={way.image: way.key, **asked.keys})
    parts = ((len(rows), whole.part(at, at + len(rows))) for at, rows in _chunks(inputs))
    values = torch.cat([part for part, _ in run(drawer, way, parts, seed)])
    rows = [{"seed": seed, "index": index, **record} for index, record in enumerate(records)]
    return Samples(values, rows, checkpoint, layout=Layout(panels=beside(whole, way.produces, values)))


IN_THE_IMAGE = ("image", "mask", "box", "points")
"""Kinds that say something of the image itself: those of another image are no stand-in."""


def asked_beside(
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
        if key.kind in IN_THE_IMAGE and name not in given and (known or name == drawer.variant.keeps):
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


def run(drawer: Drawer, way: Way, parts: Iterator[tuple[int, Batch]], seed: int) -> Iterator[tuple[Tensor, int]]:
    who = type(drawer.variant).__name__
    settings: Any = {"seed": seed, "device": drawer.device, "produces": way.produces}
    for images, size in called(way.method, drawer.networks, drawer.spec, parts, **settings):
        yield checked(images, size, drawer.spec, way.produces, who, way.name), size


__all__ = ["CHUNK", "IN_THE_IMAGE", "Way", "asked_beside", "change", "reconstruction", "run", "translation"]
