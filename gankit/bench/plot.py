"""The rows of `bench_ops` as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_plot", "plot_ops"]

_SUFFIXES = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Says before minutes of measuring what would go wrong after them.

    Raises:
        ValueError: the file exists, its name ends in no format that can be written, or matplotlib is not installed.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"a plot's name must end in {', '.join(_SUFFIXES)}, got {str(path)!r}")
    if path.exists():
        raise ValueError(f"{path} exists already. Give another name.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no directory {path.absolute().parent}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError("--plot needs matplotlib, which is not installed: pip install 'gankit[plot]'") from None


def plot_ops(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws bandwidth, as a share of a copy's, and speed against eager torch, both over the size of the tensors; of
    CUDA what the kernels take, without the host.

    Args:
        rows: what `gankit.bench.bench_ops` returns, at least one.
        path: a file that does not exist yet, .png, .svg or .pdf.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure  # without pyplot: no display, no state
    from matplotlib.ticker import StrMethodFormatter

    check_plot(path)
    first = rows[0]
    names = list(dict.fromkeys(row["op"] for row in rows))
    colors = {name: colormaps["tab20"](i % 20) for i, name in enumerate(names)}
    directions = list(dict.fromkeys(row["direction"] for row in rows))
    figure = Figure(figsize=(6.5 * len(directions), 8.5), layout="constrained")
    axes = figure.subplots(2, len(directions), sharex=True, sharey="row", squeeze=False)
    for column, direction in enumerate(directions):
        share, speed = axes[:, column]
        share.set_title(direction)
        here = [row for row in rows if row["direction"] == direction]
        _lines(share, here, "device_share_copy" if first["device"] == "cuda" else "share_copy", colors)
        _lines(speed, here, "device_ratio_eager" if first["device"] == "cuda" else "ratio_eager", colors)
        speed.set_yscale("log")
        speed.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        speed.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
        speed.set_xscale("log", base=2)
        speed.xaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
        speed.set_xlabel("MiB")
        for axis in (share, speed):
            axis.axhline(1, color="black", linewidth=0.8)
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("share of a copy's bandwidth")
    axes[1, 0].set_ylabel("times faster than eager torch")
    # Every series once, whichever panel it is in.
    handles = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize="small")
    commit = f", commit {first['commit']}" if first["commit"] else ""
    figure.suptitle(
        f"{first['device_name']}, torch {first['torch']}, gankit {first['gankit']}{commit}", fontsize="medium"
    )
    figure.savefig(path, dpi=120)


def _lines(axis: Axes, rows: Sequence[dict[str, Any]], column: str, colors: dict[str, Any]) -> None:
    """One line for each op, dtype and layout; a size that several shapes have stands as often."""
    for op, dtype, layout in dict.fromkeys((row["op"], row["dtype"], row["layout"]) for row in rows):
        points = sorted(
            (row["bytes"] / 2**20, row[column])
            for row in rows
            if (row["op"], row["dtype"], row["layout"]) == (op, dtype, layout) and row[column] is not None
        )
        axis.plot(
            [size for size, _ in points],
            [value for _, value in points],
            color=colors[op],
            linestyle="-" if layout == "nchw" else "--",
            marker={"float32": "o", "bfloat16": "s"}.get(dtype, "^"),
            markersize=4,
            label=f"{op}, {dtype}" + (", channels_last" if layout != "nchw" else ""),
        )
