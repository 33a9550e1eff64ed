"""The rows of `bench_ops` as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_ops"]


def print_ops(rows: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Prints one line a row; red where ours is slower than eager torch."""
    console = console or Console()
    if not rows:
        console.print("no rows")
        return
    first = rows[0]
    table = Table(
        title=f"{first['device_name']}, {first['threads']} threads, torch {first['torch']}", title_justify="left"
    )
    for name in ("op", "shape", "dtype", "layout", "direction"):
        table.add_column(name, no_wrap=True)
    for name in ("ms", "GB/s", "/ copy", "/ clone", "x eager", "x compile"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        compiled = row["ratio_compile"]
        table.add_row(
            escape(row["op"]),
            "x".join(map(str, row["shape"])),
            row["dtype"],
            row["layout"],
            row["direction"],
            f"{row['median_ms']:.4g}",
            f"{row['gbps']:.1f}",
            f"{row['ratio_copy']:.2f}",
            f"{row['ratio_clone']:.2f}",
            f"{row['ratio_eager']:.2f}",
            "" if compiled is None else f"{compiled:.2f}",
            style="red" if row["ratio_eager"] < 1 else None,
        )
    console.print(table)
    console.print("ms: median of a call. / copy, / clone: times a copy of the same bytes; x: times faster than.")
