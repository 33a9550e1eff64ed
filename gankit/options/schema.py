"""Reading pydantic models as flat lists of dotted options. Imports no torch."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from gankit.options.spelling import shown

NONE = "none"
"""How the absence of a value is written in text, for an option that may be absent."""

_SIGNS = {Ge: ("ge", ">="), Gt: ("gt", ">"), Le: ("le", "<="), Lt: ("lt", "<")}


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One option: a field of a model that is not itself a model."""

    name: str
    """Dotted."""
    annotation: Any
    default: Any
    """``PydanticUndefined`` if there is none."""
    help: str
    bounds: str
    """As text: ``>0 <1``."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a Literal, or of a tuple of Literals."""
        kind = without_none(self.annotation)
        if get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        return tuple(str(choice) for choice in get_args(kind)) if get_origin(kind) is Literal else ()

    @property
    def metavar(self) -> str:
        """What kind of value is expected."""
        kind = without_none(self.annotation)
        many = get_origin(kind) in (tuple, list, set, frozenset)
        if self.choices:
            listed = "|".join(self.choices)
            return f"[{listed}],..." if many else f"[{listed}]"
        if many:
            inner = [getattr(kind, "__name__", "text").upper() for kind in get_args(kind) if kind is not Ellipsis]
            return ",".join(inner) + (",..." if len(inner) == 1 else "")
        return {int: "INT", float: "FLOAT", bool: "BOOL"}.get(kind, "TEXT")


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[Leaf]:
    """Every option of `model`, nested models entered; defaults are those that hold at that place."""
    yield from _leaves(model, defaults(model), prefix)


def _leaves(model: type[BaseModel], values: Mapping[str, Any], prefix: str) -> Iterator[Leaf]:
    for name, info in model.model_fields.items():
        inner = nested(info.annotation)
        value = values.get(name, PydanticUndefined)
        if inner is not None:
            yield from _leaves(inner, value if isinstance(value, dict) else defaults(inner), f"{prefix}{name}.")
            continue
        yield Leaf(
            name=prefix + name,
            annotation=info.annotation,
            default=value,
            help=" ".join((info.description or "").split()),
            bounds=_bounds(info),
        )


def nested(annotation: Any) -> type[BaseModel] | None:
    """The model, if the option is one (or may be one: ``Model | None``)."""
    kind = without_none(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def without_none(annotation: Any) -> Any:
    """``X`` for ``X | None``."""
    if not may_be_none(annotation):
        return annotation
    rest = [kind for kind in get_args(annotation) if kind is not type(None)]
    return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007  (built at run time)


def may_be_none(annotation: Any) -> bool:
    """Whether the type admits None."""
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def annotation(model: type[BaseModel], name: str) -> Any:
    """The type of the option with a dotted name; KeyError if there is none."""
    head, _, rest = name.partition(".")
    info = model.model_fields[head]
    if not rest:
        return info.annotation
    inner = nested(info.annotation)
    if inner is None:
        raise KeyError(name)
    return annotation(inner, rest)


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The default values as a nested dict; a nested model's are those of its default instance."""
    values: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if not info.is_required():
            values[name] = _plain(info.get_default(call_default_factory=True, validated_data={}))
    return values


def dump_defaults(model: type[BaseModel]) -> dict[str, Any]:
    """:func:`defaults` as :func:`dump` has values."""
    return cast("dict[str, Any]", _without_null(to_jsonable_python(defaults(model))))


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, by dotted name."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def dump(model: BaseModel) -> dict[str, Any]:
    """Every value, fit for TOML, which knows no null: an absent value is ``"none"``, as in text."""
    values: dict[str, Any] = _without_null(model.model_dump(mode="json"))
    return values


def read(annotation: Any, value: object) -> object:
    """A value as it stands in a file or on the command line, made fit for pydantic: :func:`dump`'s reverse.

    `annotation` is the option's type, or a model for all of its values.
    """
    if isinstance(value, str):
        return from_text(annotation, value)
    kind = without_none(annotation)
    if isinstance(value, list) and get_origin(kind) in (tuple, list, set, frozenset):
        return [read(get_args(kind)[0], item) for item in value]
    if isinstance(value, Mapping) and get_origin(kind) is dict:
        return {name: read(get_args(kind)[1], item) for name, item in value.items()}
    if isinstance(value, Mapping) and (model := nested(annotation)) is not None:
        fields = model.model_fields
        return {name: read(fields[name].annotation, item) if name in fields else item for name, item in value.items()}
    return value


def from_text(annotation: Any, text: str) -> Any:
    """A value given as text, made fit for pydantic: ``none``, ``a,b,c`` for tuples, numbers of a Literal."""
    kind = without_none(annotation)
    if may_be_none(annotation) and text == NONE:
        return None
    origin = get_origin(kind)
    if origin in (tuple, list, set, frozenset):
        if text == NONE:
            return []
        parts = [part.strip() for part in text.strip("()[] ").split(",")]
        inner = get_args(kind)[0]
        return [from_text(inner, part) for part in parts if part]
    if origin is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == text), text)
    return text


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """One line on the first thing that is wrong: field, bound, value."""
    first, *others = error.errors(include_url=False)
    name = _place(first["loc"], model)
    if not name and prefix and not isinstance(first["input"], dict):
        name, prefix = prefix.rstrip("."), ""  # the model as a whole is no model
    text = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    kind = first["type"]
    if kind == "missing" and isinstance(first["loc"][-1], int):
        message = f"{prefix}{name} = {shown(first['input'])}: too few values"
    elif kind == "missing":
        message = f"{prefix}{name} must be given: it has no default"
    elif not name:
        message = text
    else:
        if not text.startswith(("must", "should")):
            text = f"must be {text}" if "Input should be" in first["msg"] else text[0].lower() + text[1:]
        message = f"{prefix}{name} = {shown(first['input'])}: {text}"
    return message + (f" (and {len(others)} more)" if others else "")


def _place(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """The dotted name of an error's place, without pydantic's own marks (which branch of a union, ...)."""
    parts: list[str] = []
    current: type[BaseModel] | None = model
    for part in location:
        if current is None or part not in current.model_fields:
            if current is not None and isinstance(part, str):
                parts.append(part)
            break
        parts.append(str(part))
        current = nested(current.model_fields[str(part)].annotation)
    return ".".join(parts)


def _bounds(info: FieldInfo) -> str:
    found = []
    for item in info.metadata:
        for kind, (attribute, sign) in _SIGNS.items():
            # a bound that is only there because of how numbers are stored is no help to anyone
            if isinstance(item, kind) and getattr(item, attribute) not in (2**63, 2**32):
                found.append(f"{sign}{getattr(item, attribute)}")
        if isinstance(item, MinLen):
            found.append(f"length>={item.min_length}")
        if isinstance(item, MaxLen):
            found.append(f"length<={item.max_length}")
    return " ".join(found)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    return value


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return NONE if value is None else value


__all__ = [
    "NONE",
    "Leaf",
    "annotation",
    "defaults",
    "dump",
    "explain",
    "from_text",
    "leaves",
    "may_be_none",
    "nested",
    "read",
    "without_none",
]
