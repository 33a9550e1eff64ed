"""An entry point of a plugin, as its metadata describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PluginEntry:
    """An entry point: one variant, dataset or format of an installed distribution."""

    name: str
    kind: str
    """``variant``, ``dataset`` or ``format``."""
    distribution: str
    version: str
    value: str
    """What it points to: ``module:attribute``."""
    summary: str = ""
    """What it is, in a line: of the distribution's description, in listings of its own docstring."""
    problem: str | None = None
    """Why it cannot be used, as far as the metadata tells."""

    @property
    def remedy(self) -> str:
        """The command that removes what is broken."""
        return f"pip uninstall {self.distribution}"


__all__ = ["PluginEntry"]
