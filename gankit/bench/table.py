"""The rows of `bench_ops` as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_ops"]


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
    ratios = ["ratio_eager", "ratio_compile", *(["ratio_compile_no_graphs", "ratio_aten"] if gpu else [])]
    heads = {name: "x " + name.removeprefix("ratio_").replace("compile_no_graphs", "no graphs") for name in ratios}
    for name in ("ms", "GB/s", "of copy", "/ copy", "/ clone", *heads.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row["op"]),
            "x".join(map(str, row["shape"])),
            row["dtype"],
            row["layout"],
            row["direction"],
            f"{row['median_ms']:.4g}",
            f"{row['gbps']:.1f}",
            f"{row['share_copy']:.0%}",
            f"{row['ratio_copy']:.2f}",
            f"{row['ratio_clone']:.2f}",
            *("" if row[name] is None else f"{row[name]:.2f}" for name in ratios),
            style="red" if any(row[name] is not None and row[name] < 1 for name in ratios) else None,
        )
    console.print(table)
    console.print(
        "ms: median of a call. GB/s: bytes that have to move; of copy: that, as a share of a copy's. "
        "/ copy, / clone: times a copy of the same bytes; x: times faster than."
    )
    if gpu:
        console.print("compile: mode max-autotune; no graphs: the same without CUDA graphs; aten: torch's own kernel.")
