"""The rows of `bench_ops` as a table for people."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

__all__ = ["print_ops"]

# Column of a row: its head, its format. Heads that begin with x are of ratios above 1 where ours is faster.
_CPU = {
    "median_ms": ("ms", ".4g"),
    "gbps": ("GB/s", ".1f"),
    "share_copy": ("of\ncopy", ".0%"),
    "ratio_copy": ("/\ncopy", ".2f"),
    "ratio_clone": ("/\nclone", ".2f"),
    "ratio_eager": ("x\neager", ".2f"),
    "ratio_compile": ("x\ncompile", ".2f"),
}
_GPU = {
    "median_ms": ("ms", ".4g"),
    "ratio_eager": ("x\neager", ".2f"),
    "ratio_compile": ("x\ncompile", ".2f"),
    "ratio_compile_no_graphs": ("x no\ngraphs", ".2f"),
    "ratio_aten": ("x\naten", ".2f"),
    "device_ms": ("device:\nms", ".4g"),
    "device_gbps": ("GB/s", ".1f"),
    "device_share_copy": ("of\ncopy", ".0%"),
    "device_ratio_eager": ("x\neager", ".2f"),
    "device_ratio_compile_no_graphs": ("x no\ngraphs", ".2f"),
    "device_ratio_aten": ("x\naten", ".2f"),
}


def print_ops(rows: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Prints one line a row, op by op; red where ours is slower than one of the others.

    Lines by hand: rich's tables fit a narrow console by cutting figures short, which then say nothing.
    """
    console = console or Console()
    if not rows:
        console.print("no rows")
        return
    first = rows[0]
    gpu = first["device"] == "cuda"
    columns = _GPU if gpu else _CPU
    about = f"CUDA {first['cuda']}" if gpu else f"{first['threads']} threads"
    console.print(f"{first['device_name']}, {about}, torch {first['torch']}", highlight=False)
    cells = [_cells(row, columns) for row in rows]
    heads = [["", "", ""], ["shape", "tensor", "what"]]
    for title, _ in columns.values():
        *upper, lower = title.split("\n")
        heads[0].append("".join(upper))
        heads[1].append(lower)
    widths = [max(map(len, column)) for column in zip(*heads, *cells, strict=True)]

    def line(texts: Sequence[str], style: str) -> None:
        aligned = [t.ljust(w) if i < 3 else t.rjust(w) for i, (t, w) in enumerate(zip(texts, widths, strict=True))]
        console.print(" ".join(aligned), style=style, highlight=False, markup=False, soft_wrap=True)

    for op, group in itertools.groupby(zip(rows, cells, strict=True), lambda pair: pair[0]["op"]):
        console.print(f"\n[bold]{escape(op)}[/]")
        for head in heads:
            line(head, "bold")
        for row, texts in group:
            slower = any(row[n] is not None and row[n] < 1 for n, (head, _) in columns.items() if head[0] == "x")
            line(texts, "red" if slower else "")
    console.print()
    console.print(
        "ms: median of a call. GB/s: bytes that have to move; of copy: that, as a share of a copy's. "
        + ("" if gpu else "/ copy, / clone: times a copy of the same bytes. ")
        + "x: times faster than; a row in red is slower than one of those. last: channels_last."
    )
    if gpu:
        console.print(
            "compile: mode max-autotune; no graphs: the same without CUDA graphs; aten: torch's own kernel. "
            "device: as a CUDA graph replays it, without what the host takes; GB/s and of copy too."
        )


def _cells(row: dict[str, Any], columns: dict[str, tuple[str, str]]) -> list[str]:
    dtype = row["dtype"].replace("bfloat", "bf").replace("float", "f")
    return [
        "x".join(map(str, row["shape"])),
        f"{dtype} {row['layout'].replace('channels_last', 'last')}",
        row["direction"].replace("forward", "fwd").replace("backward", "bwd"),
        *("" if row[name] is None else format(row[name], form) for name, (_, form) in columns.items()),
    ]
