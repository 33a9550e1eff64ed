"""In what a run's options differ from its preset, and the command that makes a run of the same. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from gankit.errors import GankitError
from gankit.options.resolve import Resolved, resolve
from gankit.options.schema import NONE, flattened
from gankit.options.spelling import flag
from gankit.plugin import Dataset, Variant


@dataclass(frozen=True)
class Change:
    """An option that differs from the preset. Values are plain, as :meth:`Resolved.to_dict` has them."""

    value: Any
    usual: Any
    """What it is if it is not given."""


def changed(config: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]]) -> dict[str, Change]:
    """The options in which `config` differs from its preset (of its stage), by dotted name."""
    usual = dict(flattened(_preset(config, variant, dataset, {}).to_dict()))
    return {
        name: Change(value, usual.get(name)) for name, value in flattened(config.to_dict()) if usual.get(name) != value
    }


def command(
    config: Resolved,
    variant: type[Variant[Any]],
    dataset: type[Dataset[Any]],
    file: Path,
    processes: int = 1,
    init: Path | None = None,
) -> str:
    """What to type, in a shell, for a run of the same options as `config`, which is kept in `file`.

    `init`: the checkpoint that it started from.

    Where options cannot be typed so that they come back the same (a text with a comma among several), the command
    takes them from `file`.
    """
    differ = {name: change.value for name, change in changed(config, variant, dataset).items()}
    differ.setdefault("seed", config.run.seed)
    start = ["gankit", "run", config.variant, "--dataset", config.dataset]
    end = [*(["--init", str(init)] if init else []), *(["--processes", str(processes)] if processes > 1 else [])]
    if not _comes_back(config, variant, dataset, differ):
        return _line([*start, "--config", str(file), *end])
    if config.preset != "default":
        start += ["--preset", config.preset]
    if config.stage is not None:
        start += ["--stage", str(config.stage)]
    return _line([*start, *(word for name, value in differ.items() for word in _typed(name, value)), *end])


def _preset(
    config: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]], options: Mapping[str, object]
) -> Resolved:
    """The options of the preset of `config`, at its stage, with `options` laid over them."""
    return resolve(
        variant,
        dataset,
        variant=config.variant,
        dataset=config.dataset,
        preset=config.preset,
        options={**({} if config.stage is None else {"stage": config.stage}), **options},
    )


def _comes_back(
    config: Resolved, variant: type[Variant[Any]], dataset: type[Dataset[Any]], options: Mapping[str, Any]
) -> bool:
    """Whether the `options`, as they are typed, make `config`."""
    typed = {name: value if isinstance(value, bool) else _text(value) for name, value in options.items()}
    try:
        return _preset(config, variant, dataset, typed).to_dict() == config.to_dict()
    except GankitError:
        return False


def _typed(name: str, value: Any) -> list[str]:
    """An option and its value as words of a command."""
    if isinstance(value, bool):
        return [flag(name) if value else f"--no-{flag(name)[2:]}"]
    text = _text(value)
    return [f"{flag(name)}={text}"] if text.startswith("-") else [flag(name), text]


def _text(value: Any) -> str:
    return (",".join(map(str, value)) or NONE) if isinstance(value, list) else str(value)


def _line(words: list[str]) -> str:
    return " ".join(map(quote, words))


__all__ = ["Change", "changed", "command"]
