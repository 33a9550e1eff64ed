"""Rows of figures, as they are kept: a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append(row: Mapping[str, Any], file: Path | None) -> None:
    """Write `row` at the end of `file`, at once, so that none is lost where a later one fails. None: nowhere."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
