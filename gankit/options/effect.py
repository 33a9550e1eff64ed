"""Options that a user gives and that would do nothing. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import BaseModel

from gankit.config import Config
from gankit.errors import UsageError
from gankit.options import schema
from gankit.options.spelling import shown

__all__ = ["check_effect"]


def check_effect(model: BaseModel, given: Collection[str], prefix: str = "") -> None:
    """:class:`UsageError` names one of the options `given`, dotted, that has no effect beside the others of `model`.

    One that is given its default is let pass. `prefix` stands before the names of the model's options.
    """
    values = dict(schema.flattened(model.model_dump(), prefix))
    defaults = dict(schema.flattened(schema.defaults(type(model)), prefix))
    for name, need in _without_effect(model, prefix):
        for option, value in values.items():
            if option in given and f"{option}.".startswith(f"{name}.") and value != defaults.get(option):
                raise UsageError(f"{option} = {shown(value)}: does nothing without {need}; give both, or leave it out")


def _without_effect(model: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    """Dotted names, and what each needs; those that a model says of its nested ones before what these say."""
    if isinstance(model, Config):
        yield from ((f"{prefix}{name}", f"{prefix}{need}") for name, need in model.without_effect().items())
    for name in type(model).model_fields:
        if isinstance(inner := getattr(model, name), BaseModel):
            yield from _without_effect(inner, f"{prefix}{name}.")
