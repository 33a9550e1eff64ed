"""Distributions made up by tests: a module, and the metadata of an installed distribution, in a directory."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Site:
    """A directory of made-up distributions."""

    path: Path

    def add(
        self,
        name: str,
        source: str | None = None,
        *,
        variants: Mapping[str, str] | None = None,
        datasets: Mapping[str, str] | None = None,
        api: str = "v1",
        distribution: str | None = None,
    ) -> str:
        """Install the module `name` with `source` (none: leave it out); by default with a Toy and Dots of that name."""
        distribution = distribution or f"gankit-plugin-{name.replace('_', '-')}"
        variants = {name: f"{name}:Toy"} if variants is None else variants
        datasets = {f"{name}-dots": f"{name}:Dots"} if datasets is None else datasets
        if source is not None:
            (self.path / f"{name}.py").write_text(source.replace("TOY", name), encoding="utf-8")
        info = self.metadata(distribution)
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: Made up.\n", encoding="utf-8"
        )
        groups = [(f"gankit.plugins.{api}", variants), (f"gankit.datasets.{api}", datasets)]
        text = "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in it.items()) for group, it in groups if it)
        (info / "entry_points.txt").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return name

    def metadata(self, distribution: str) -> Path:
        """The directory of a distribution's metadata."""
        return self.path / f"{distribution.replace('-', '_')}-1.0.dist-info"


__all__ = ["Site"]
