"""Weights that were exported, in Python again: drawn from without the run that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gankit.data.spec_json import spec_from_json
from gankit.discovery.entry_points import load_variant
from gankit.errors import UsageError
from gankit.export.job import CPU
from gankit.export.weights_file import built, read, restored
from gankit.plugin import DataSpec, Variant
from gankit.sampling.drawer import Drawer
from gankit.sampling.samples import Samples
from gankit.sampling.translate import change, translation

__all__ = ["Loaded", "open_export"]


@dataclass(frozen=True)
class Loaded:
    """A variant with the networks that draw, in eval mode on the CPU, and what the file says of itself."""

    variant: Variant[Any]
    networks: Mapping[str, nn.Module]
    spec: DataSpec
    about: Mapping[str, Any]

    def sample(
        self, n: int | None = None, *, given: Mapping[str, Any] | None = None, to: str | None = None, seed: int = 0
    ) -> Samples:
        """As :meth:`gankit.Run.sample`; what the data would give has to be given, since there is no data."""
        drawer = self._drawer()
        return drawer.samples(drawer.ask(n, to=to, given=given, seed=seed), None, seed=seed, to=to)

    def translate(
        self, images: Any, *, given: Mapping[str, Any] | None = None, to: str | None = None, seed: int = 0
    ) -> Samples:
        """As :meth:`gankit.Run.translate`."""
        drawer = self._drawer()
        return change(drawer, translation(drawer, to), images, given=given, seed=seed)

    def _drawer(self) -> Drawer:
        return Drawer(self.variant, self.networks, self.spec, lambda: (), CPU)


def open_export(
    path: str | Path, variant: type[Variant[Any]] | None = None, *, options: Mapping[str, Any] | None = None
) -> Loaded:
    """What ``gankit export RUN F.safetensors`` wrote. `variant` is needed only for a class that is no installed plugin.

    `options` by dotted name take the place of the file's: ``{"text.file": F}``, of which it knows the name alone.
    :class:`UsageError` if there is no such file, or its weights do not fit the variant as it is now.
    """
    path = Path(path).expanduser()
    facts, tensors = read(path)
    for name, value in (options or {}).items():
        *above, last = name.split(".")
        place = facts["options"]
        for one in above:
            place = place.setdefault(one, {})
        place[last] = value
    try:
        made = built(variant or load_variant(str(facts["variant"])), facts)
        spec = spec_from_json(facts["spec"])
    except ValueError as error:
        raise UsageError(f"{path} does not fit the variant {facts['variant']}: {error}") from error
    return Loaded(made, restored(made, spec, tensors), spec, facts)
