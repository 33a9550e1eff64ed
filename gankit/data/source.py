"""A dataset as it was given, opened when it is needed and once."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from gankit.errors import UsageError
from gankit.plugin import Dataset

Split = Literal["train", "test"]


class DataSource:
    """A dataset, given as its class or as one of its splits; a split that was opened is kept for the same options.

    So a run, its next stage and what is drawn from it afterwards read the data once. The splits of other options than
    those that were asked for last are let go.
    """

    def __init__(self, given: type[Dataset[Any]] | Dataset[Any]) -> None:
        self.given = given if isinstance(given, Dataset) else None
        self.cls: type[Dataset[Any]] = type(given) if isinstance(given, Dataset) else given
        self._config: BaseModel | None = None
        self._splits: dict[Split, Dataset[Any]] = {}

    def open(self, config: BaseModel, split: Split) -> Dataset[Any]:
        """The `split` of the data that `config` says."""
        if self._config is None or self._config != config:
            self._config, self._splits = config, {}
            if self.given is not None:
                self._splits[self.given.split] = self.given
        if split not in self._splits:
            self._splits[split] = self.cls(config, split)
        return self._splits[split]

    def check(self, config: BaseModel, remedy: str) -> None:
        """:class:`UsageError`, with a `remedy`, if the dataset was given open, with other options than `config`."""
        if self.given is None:
            return
        for name in type(config).model_fields:
            asked, is_so = getattr(config, name), getattr(self.given.config, name, None)
            if asked != is_so:
                given = f"the dataset that was given, whose {name} is {is_so!r}"
                raise UsageError(f"data.{name} = {asked!r} contradicts {given}: {remedy}")


__all__ = ["DataSource", "Split"]
