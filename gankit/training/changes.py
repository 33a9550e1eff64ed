"""What has changed between two sittings of a run: its config.toml, its data, and whether it can go on with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gankit.discovery.entry_points import place
from gankit.errors import GankitError, UsageError
from gankit.options.resolve import Resolved
from gankit.options.schema import dump_defaults, flattened
from gankit.options.spelling import shown
from gankit.runs.checkpoint import Checkpoint
from gankit.training.session import Session


def config_changes(then: object, now: Resolved) -> list[str]:
    """The options that differ between two configs, as ``steps = 20 (was 12)``.

    `then` is what a checkpoint says, and nothing has changed if it says nothing. An option that there was not then, and
    that has its default now, was added to the program, not to the run.
    """
    if not isinstance(then, Mapping):
        return []
    usual = dump_defaults(type(now.run)) | dump_defaults(type(now.options)) | {"data": dump_defaults(type(now.data))}
    before = dict(flattened(usual)) | dict(flattened(then))
    after = dict(flattened(now.to_dict()))
    return [f"{name} = {shown(after.get(name))} (was {shown(before.get(name))})" for name in _differ(before, after)]


@contextmanager
def explained(config: Path, edits: Sequence[str], also: Sequence[str] = ()) -> Iterator[None]:
    """What fails while it is entered is said with the `edits` of the file `config`, and what is said `also`."""
    edited = [f"{config} was edited since: {', '.join(edits)}. Set it back."] if edits else []
    try:
        yield
    except GankitError as error:
        raise type(error)("\n".join([str(error), *edited, *also])) from error
    except Exception as error:  # a plugin's, where it is built for what it never was
        text = " ".join(str(error).split())
        text = f"the networks cannot be built: {type(error).__name__}: {text} ({place(error)})"
        files = f"They are built from {config} and spec.json beside it: what was changed there must be set back."
        raise GankitError("\n".join([text, *(edited or [files]), *also])) from error


def not_taken_over(given: Iterable[str], asked: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Those of the options `given`, dotted, in which the config `asked` for differs from a run's."""
    heads = tuple(given)
    names = _differ(dict(flattened(asked)), dict(flattened(theirs)))
    return [name for name in names if any(name == head or name.startswith(f"{head}.") for head in heads)]


def names_in(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names that `options` say something of: nested mappings, or models of which some fields were set."""
    for name, value in options.items():
        if isinstance(value, BaseModel):
            value = {field: getattr(value, field) for field in value.model_fields_set}
        if isinstance(value, Mapping):
            yield from names_in(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def its_options(config: BaseModel, prefix: str = "data.") -> Iterator[tuple[str, Any]]:
    """The options of a dataset, by dotted name."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from its_options(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def check_continues(session: Session, saved: Checkpoint) -> None:
    """:class:`UsageError` if `session` cannot go on from `saved`: other weights, optimisers, numbers of samples."""
    session.restore_part("weights", saved)
    averaged = session.variant.averaged if session.resolved.run.ema > 0 else ()
    if averaged and "ema" not in saved.tensors:
        raise UsageError(f"ema = {session.resolved.run.ema}: so far the run has kept no averages; set ema to 0.")
    for part in ("optimizers", "loader"):
        session.restore_part(part, saved)


def _differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


__all__ = ["check_continues", "config_changes", "explained", "its_options", "names_in", "not_taken_over"]
