"""The rows of `bench_ops` as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_ops"]


# Column of a row: its head, its format. Heads that begin with x are of ratios above 1 where ours is faster.
_CPU = {
    "median_ms": ("ms", ".4g"),
    "gbps": ("GB/s", ".1f"),
    "share_copy": ("of copy", ".0%"),
    "ratio_copy": ("/ copy", ".2f"),
    "ratio_clone": ("/ clone", ".2f"),
    "ratio_eager": ("x eager", ".2f"),
    "ratio_compile": ("x compile", ".2f"),
}
_GPU = {
    "median_ms": ("ms", ".4g"),
    "ratio_eager": ("x eager", ".2f"),
    "ratio_compile": ("x compile", ".2f"),
    "ratio_compile_no_graphs": ("x no graphs", ".2f"),
    "ratio_aten": ("x aten", ".2f"),
    "device_ms": ("device ms", ".4g"),
    "device_gbps": ("GB/s", ".1f"),
    "device_share_copy": ("of copy", ".0%"),
    "device_ratio_eager": ("x eager", ".2f"),
    "device_ratio_compile_no_graphs": ("x no graphs", ".2f"),
    "device_ratio_aten": ("x aten", ".2f"),
}


def print_ops(rows: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Prints one line a row; red where ours is slower than one of the others."""
    console = console or Console()
    if not rows:
        console.print("no rows")
        return
    first = rows[0]
    gpu = first["device"] == "cuda"
    about = f"CUDA {first['cuda']}" if gpu else f"{first['threads']} threads"
    table = Table(title=f"{first['device_name']}, {about}, torch {first['torch']}", title_justify="left")
    for name in ("op", "shape", "dtype", "layout", "direction"):
        table.add_column(name, no_wrap=True)
    columns = _GPU if gpu else _CPU
    for head, _ in columns.values():
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row["op"]),
            "x".join(map(str, row["shape"])),
            row["dtype"],
            row["layout"],
            row["direction"],
            *("" if row[name] is None else format(row[name], form) for name, (_, form) in columns.items()),
            style="red"
            if any(row[n] is not None and row[n] < 1 for n, (x, _) in columns.items() if x[0] == "x")
            else None,
        )
    console.print(table)
    console.print(
        "ms: median of a call. GB/s: bytes that have to move; of copy: that, as a share of a copy's. "
        + ("" if gpu else "/ copy, / clone: times a copy of the same bytes; ")
        + "x: times faster than."
    )
    if gpu:
        console.print(
            "compile: mode max-autotune; no graphs: the same without CUDA graphs; aten: torch's own kernel. "
            "device: as a CUDA graph replays it, without what the host takes; GB/s and of copy too."
        )
