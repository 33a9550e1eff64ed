"""Reading JSON files that may be damaged, whatever has happened to them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gankit.errors import GankitError
from gankit.files import read_regular


def parse_object(text: str | bytes) -> dict[str, Any]:
    """`text` as a JSON object; ValueError for anything else, however deep or long."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not an object")
    return content


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file. :class:`GankitError` names the file and the `remedy`, an imperative."""
    try:
        return parse_object(read_regular(path))
    except OSError as error:
        raise GankitError(f"{path} cannot be read: {error.strerror or error}. {_sentence(remedy)}") from error
    except ValueError as error:
        raise GankitError(f"{path} is damaged: {shortened(error)}. {_sentence(remedy)}") from error


def damaged(path: Path, what: str, remedy: str) -> GankitError:
    """The error for a file that is JSON, but not what it should be."""
    return GankitError(f"{path} is damaged: {shortened(what)}. {_sentence(remedy)}")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def shortened(said: ValueError | str) -> str:
    """What was said, in one line that is not too long."""
    text = " ".join(str(said).split())
    return text if len(text) <= 200 else text[:197] + "..."


def finite(data: Any) -> Any:
    """`data` with None in place of every number that JSON has no word for, and names that are text."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    return [finite(value) for value in data] if isinstance(data, list | tuple) else data


__all__ = ["damaged", "finite", "parse_object", "read_object", "shortened"]
