"""What goes wrong, said on the page."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from gankit.errors import GankitError, out_of_memory


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of which what goes wrong is said on the page, in words that are no markup."""

    @functools.wraps(function)
    def asked(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            if os.environ.get("GANKIT_DEBUG", "0") not in ("", "0"):
                traceback.print_exc()
            raise gr.Error(escape(said(error)), print_exception=False) from error

    return asked


def said(error: Exception) -> str:
    """What went wrong, in a line or two."""
    if isinstance(error, GankitError):
        return str(error)
    if out_of_memory(error):
        return "there is not enough memory; ask for fewer or smaller ones"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= 400 else text[:397] + '...'}"


__all__ = ["said", "told"]
