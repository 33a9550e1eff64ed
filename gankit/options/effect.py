"""Options that a user gives and that would do nothing. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pydantic import BaseModel

from gankit.config import Config
from gankit.errors import PluginError
from gankit.options import schema
from gankit.options.spelling import shown

__all__ = ["idle"]


def idle(model: BaseModel, given: Collection[str], prefix: str = "") -> dict[str, str]:
    """The options `given`, dotted, that have no effect beside the others of `model`, and what to say of each.

    One that is given its default, or is turned off, is let pass. `prefix` stands before the names of the options.
    :class:`PluginError` if the model's ``without_effect`` gives no such mapping.
    """
    values = dict(schema.flattened(model.model_dump(), prefix))
    defaults = dict(schema.flattened(schema.defaults(type(model)), prefix))
    found: dict[str, str] = {}
    for name, need in _without_effect(model, prefix):
        for option, value in values.items():
            used = value and value != defaults.get(option)  # what is turned off does nothing anywhere
            if used and option in given and f"{option}.".startswith(f"{name}."):
                text = f"{option} = {shown(value)}: does nothing without {need}; give both, or leave it out"
                found.setdefault(option, text)
    return found


def _without_effect(model: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    """Dotted names, and what each needs; those that a model says of its nested ones before what these say."""
    if isinstance(model, Config):
        found, cls = model.without_effect(), type(model)
        if not isinstance(found, Mapping) or not found.keys() <= cls.model_fields.keys():
            raise PluginError(f"{cls.__name__}.without_effect gives {found!r}: not a mapping of its own options")
        yield from ((f"{prefix}{name}", f"{prefix}{need}") for name, need in found.items())
    for name in type(model).model_fields:
        if isinstance(inner := getattr(model, name), BaseModel):
            yield from _without_effect(inner, f"{prefix}{name}.")
