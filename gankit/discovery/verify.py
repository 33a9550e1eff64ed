"""Whether a class that a plugin names keeps those parts of the contract that can be seen without using it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from gankit.errors import PluginError

if TYPE_CHECKING:
    from gankit.discovery.entry import PluginEntry
    from gankit.foreign import WeightFormat
    from gankit.plugin import Dataset, Variant

Wanted = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what a right one is called."""


def broken(entry: PluginEntry, cause: str) -> PluginError:
    """The error for a plugin that cannot be used: distribution, cause, and the command that removes it."""
    error = PluginError(
        f"{entry.kind} {entry.name!r} of {entry.distribution} {entry.version} cannot be used: {cause}\n"
        f"remove it with: {entry.remedy}"
    )
    error.cause = cause
    return error


def verify_variant(cls: object, entry: PluginEntry) -> type[Variant[Any]]:
    """`cls` if it is a usable Variant class, else PluginError."""
    from gankit.options.run import RESERVED
    from gankit.plugin import Variant

    _verify_class(cls, Variant, entry)
    if taken := sorted(RESERVED & set(cls.Config.model_fields)):  # type: ignore[attr-defined]
        raise broken(entry, f"its option {taken[0]!r} has the name of an option that every run has; rename it")
    if not isinstance(getattr(cls, "dataset", None), str):
        raise broken(entry, f'{entry.value} names no default dataset: give it `dataset = "..."`')
    _verify_attributes(cls, _OF_VARIANTS, entry)
    if loose := sorted(cls.conditions - cls.requires):  # type: ignore[attr-defined]
        cause = f"`conditions` names {loose[0]!r}, which `requires` does not: name it there too"
        raise broken(entry, f"{cause}, or let `asks` return it if the data may lack it")
    own = {name for name in ("sample", "codes", "decode") if getattr(cls, name) is not getattr(Variant, name)}
    if "sample" not in own and not own >= {"codes", "decode"}:
        raise broken(entry, f"{entry.value} lacks sample, or codes and decode in its place")
    if cls.stages > 1 and "stage" not in cls.Config.model_fields:  # type: ignore[attr-defined]
        raise broken(entry, "it has several stages: its Config needs a field `stage: int | None`")
    return cls  # type: ignore[return-value]


def verify_dataset(cls: object, entry: PluginEntry) -> type[Dataset[Any]]:
    """`cls` if it is a usable Dataset class, else PluginError."""
    from gankit.plugin import Dataset

    _verify_class(cls, Dataset, entry)
    _verify_attributes(cls, _OF_DATASETS, entry)
    return cls  # type: ignore[return-value]


def verify_format(cls: object, entry: PluginEntry) -> type[WeightFormat]:
    """`cls` if it is a usable WeightFormat class, else PluginError."""
    from gankit.foreign import WeightFormat

    if not (isinstance(cls, type) and issubclass(cls, WeightFormat)) or inspect.isabstract(cls):
        raise broken(entry, f"{entry.value} is no class derived from gankit.foreign.WeightFormat, with its `read`")
    if not all(entry.name.partition(".")):
        raise broken(entry, f"its name {entry.name!r} is not FORMAT.VARIANT")
    return cls


def _verify_class(cls: object, base: type, entry: PluginEntry) -> None:
    from pydantic import BaseModel

    if not (isinstance(cls, type) and issubclass(cls, base)):
        what = f"the class {cls.__qualname__}" if isinstance(cls, type) else f"a {type(cls).__name__}"
        raise broken(entry, f"{entry.value} is {what}, not a subclass of gankit.plugin.{base.__name__}")
    if inspect.isabstract(cls):
        raise broken(entry, f"{entry.value} lacks {', '.join(sorted(getattr(cls, '__abstractmethods__', ())))}")
    config = getattr(cls, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise broken(entry, f"{entry.value}.Config is not a pydantic model (derive it from gankit.plugin.Config)")


def _verify_attributes(
    cls: object, wanted: Mapping[str, tuple[Callable[[Any], bool], str]], entry: PluginEntry
) -> None:
    for name, (right, called) in wanted.items():
        if not right(value := getattr(cls, name)):
            shown = repr(value)
            shown = shown if len(shown) <= 80 else shown[:77] + "..."
            raise broken(entry, f"{entry.value}.{name} must be {called}, not {shown}")


def _names(*kinds: type) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return isinstance(value, kinds) and all(isinstance(item, str) for item in value)  # type: ignore[attr-defined]

    return accepts


def _mapping(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return isinstance(value, Mapping) and all(isinstance(key, str) and right(one) for key, one in value.items())

    return accepts


def _direction(value: Any) -> bool:
    return isinstance(value, str) and value in ("larger", "smaller")


_DOC: Wanted = (lambda value: value is None or isinstance(value, str), "a text")
_OF_VARIANTS: dict[str, Wanted] = {
    "__doc__": _DOC,
    "requires": (_names(Set), "a set of names"),
    "conditions": (_names(Set), "a set of names"),
    "averaged": (_names(tuple, list), "a tuple of names"),
    "produces": (_names(tuple), "a tuple of names"),
    "keeps": (lambda value: value is None or isinstance(value, str), "a name or None"),
    "random": (lambda value: isinstance(value, bool), "True or False"),
    "stages": (lambda value: type(value) is int and value >= 1, "a number, at least 1"),
    "metric": (lambda value: value is None or isinstance(value, str), "a name or None"),
    "metrics": (
        _mapping(_direction),
        'names with "larger" or "smaller"',
    ),
    "presets": (_mapping(_mapping(lambda value: True)), "values of options by name, by the preset's name"),
    "check_options": (_mapping(lambda value: True), "values of options by name"),
}
_OF_DATASETS: dict[str, Wanted] = {"__doc__": _DOC, "reading": (_names(Set), "a set of names")}


__all__ = ["broken", "verify_dataset", "verify_format", "verify_variant"]
