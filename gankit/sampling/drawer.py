"""Trained networks with all that is needed to draw from them: for a run, and for the sheets of a training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gankit.data.kinds import KINDS, kind_of
from gankit.errors import PluginError
from gankit.events import OnEvent, ignore
from gankit.plugin import DataSpec, SampleRequest, Variant
from gankit.sampling.conditions import Asked, Rows, asked_keys, choose, conditions, fill
from gankit.sampling.draw import BATCH, NotAsked, called, defines, draw
from gankit.sampling.samples import Samples
from gankit.sampling.sheets import PANELS, Layout, bounded

NUMBERS = 10_000
"""Most rows that figures are drawn from where no images are among them."""


@dataclass(frozen=True)
class Drawer:
    """Draws from `networks`, which stay on `device` and in the modes they are in.

    `rows` opens the splits that what is not given comes from.
    """

    variant: Variant[Any]
    networks: Mapping[str, nn.Module]
    spec: DataSpec
    rows: Rows
    device: torch.device

    def ask(self, n: int | None, *, to: str | None = None, given: Mapping[str, Any] | None = None, seed: int) -> Asked:
        """What to ask for to draw `n` samples; see :func:`gankit.sampling.conditions.fill`."""
        return conditions(self.variant, self.spec, n, to=to, given=given, rows=self.rows, seed=seed)

    def ask_for_sheet(self, n: int, *, seed: int) -> Asked | None:
        """What panels and figures are drawn from: held-out samples of what the variant requires, and all it asks for.

        None if the variant has neither. Of images no more than one draws from at once.
        """
        variant = self.variant
        if not (defines(variant, "panels") or defines(variant, "figures")):
            return None
        keys = {name: self.spec[name] for name in sorted(variant.requires) if name in self.spec.keys}
        for produces in variant.produces or ("",):
            keys |= asked_keys(variant, self.spec, produces)
        most = BATCH if any(kind_of(key).pixels for key in keys.values()) else NUMBERS
        return fill(type(variant).__name__, keys, self.spec, min(n, most), rows=self.rows, seed=seed)

    def samples(
        self,
        asked: Asked,
        sheet: Asked | None,
        *,
        seed: int,
        to: str | None = None,
        checkpoint: str = "",
        tell: OnEvent = ignore,
    ) -> Samples:
        """The samples that `asked` asks for; `sheet` is what :meth:`ask_for_sheet` returned."""
        values = draw(
            self.variant,
            self.networks,
            self.spec,
            asked.batch,
            asked.n,
            seed=seed,
            device=self.device,
            to=to,
            tell=tell,
        )
        produces = choose(self.variant, to)
        kind = self.spec[produces].kind if produces else ""
        panels: Mapping[str, Tensor] = {}
        figures: Mapping[str, Tensor] = {}
        if sheet is not None:
            panels, figures = self._panels(sheet, asked, seed, produces), self._figures(sheet, seed, produces)
        drawn = KINDS[kind].to_picture(values) if kind in KINDS and KINDS[kind].pixels else None
        if drawn is not None and asked.each > 1:  # a column for each of the classes given, none for what nobody asked
            panels = beside(asked, produces, drawn)
        elif drawn is not None and (not panels or asked.given & set(_pictures(asked))):
            panels = _joined(beside(asked, produces, drawn), panels)
        words = asked.words if asked.each > 1 or not panels else ()
        columns = min(len(asked.words), asked.n) or None
        records = [{"seed": seed, "index": index, **record} for index, record in enumerate(asked.records)]
        return Samples(values, records, checkpoint, kind, Layout(columns, words, panels), figures)

    def check(self) -> None:
        """Draws two samples of all that the variant produces, and a sheet; :class:`PluginError` if one is not as asked.

        For before anything is written.
        """
        for to in self.variant.produces or (None,):
            drawn = self.samples(self.ask(2, to=to, seed=0), self.ask_for_sheet(2, seed=0), seed=0, to=to)
            if drawn.are_images:
                drawn.page()

    def _panels(self, sheet: Asked, asked: Asked, seed: int, produces: str) -> dict[str, Tensor]:
        own = type(self.variant)
        if not defines(self.variant, "panels"):
            return {}
        n = min(sheet.n, asked.n, PANELS)
        try:
            panels = self._call(self.variant.panels, self._with_given(sheet, asked), n, seed, produces)
        except NotAsked:
            if not asked.given:
                raise
            return {}  # they show what the data has of an image, and nobody has it of the one given
        for name, images in panels.items():
            shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            if not isinstance(images, Tensor) or images.dim() != 4 or len(images) != n or 0 in images.shape:
                raise PluginError(f"{own.__name__}: panels() returned {shape} for {name!r}; asked for ({n}, C, H, W)")
        return {name: images.detach().float().cpu() for name, images in panels.items()}

    def _with_given(self, sheet: Asked, asked: Asked) -> Asked:
        """`sheet` with what the user gave, and without what the data has of another image than the one given."""
        if not asked.given:
            return sheet
        images = {self.spec.moves_with(name) for name in asked.given if name in self.spec.images}
        fitting = {
            name: rows
            for name, rows in sheet.batch.items()
            if name not in self.spec.keys or self.spec.moves_with(name) not in images
        }
        return replace(sheet, batch={**fitting, **asked.batch})

    def _figures(self, sheet: Asked, seed: int, produces: str) -> dict[str, Tensor]:
        own = type(self.variant)
        if not defines(self.variant, "figures"):
            return {}
        figures = self._call(self.variant.figures, sheet, sheet.n, seed, produces)
        for name, picture in figures.items():
            if not re.fullmatch(r"[\w.-]+", name):
                raise PluginError(
                    f"{own.__name__}: figures() has the name {name!r}; files are named so: a word it must be"
                )
            if not isinstance(picture, Tensor) or picture.dtype != torch.uint8 or picture.shape[2:] != (3,):
                found = (
                    f"{picture.dtype} {tuple(picture.shape)}" if isinstance(picture, Tensor) else type(picture).__name__
                )
                raise PluginError(
                    f"{own.__name__}: figures() returned {found} for {name!r}; it must be uint8 (H, W, 3)"
                )
        return {name: bounded(picture.detach().cpu()) for name, picture in figures.items()}

    def _call(self, method: Any, sheet: Asked, n: int, seed: int, produces: str) -> dict[str, Any]:
        part = sheet.part(0, n)
        settings: Any = {"seed": seed, "device": self.device, "produces": produces}

        def request_only(request: SampleRequest) -> Any:
            return method(self.networks, request)

        ((result, _),) = called(request_only, self.networks, self.spec, [(n, part)], **settings)
        if not isinstance(result, Mapping):
            name = f"{type(self.variant).__name__}: {method.__name__}()"
            raise PluginError(f"{name} returned a {type(result).__name__}; it must be a mapping of tensors by name")
        return dict(result)


def _pictures(asked: Asked) -> list[str]:
    return [name for name in asked.batch if kind_of(asked.keys[name]).pixels]


def _joined(asked_with: Mapping[str, Tensor], panels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The panels of what was asked with, then the variant's own; a picture that is among those stands there alone."""
    if not panels:
        return dict(asked_with)
    rows = len(next(iter(panels.values())))
    others = {name: images[:rows] for name, images in asked_with.items() if name not in panels}
    alone = {
        name: images
        for name, images in others.items()
        if not any(own.shape == images.shape and torch.equal(own, images) for own in panels.values())
    }
    return {**alone, **panels}


def beside(asked: Asked, produces: str, images: Tensor) -> dict[str, Tensor]:
    """Panels of what was asked with, images and masks, and what came of it; none if no image was asked with."""
    shown = {name: kind_of(asked.keys[name]).to_picture(asked.batch[name]) for name in _pictures(asked)}
    if not shown:
        return {}
    return {**shown, produces if produces not in shown else "sample": images}


__all__ = ["Drawer", "beside"]
