"""What becomes of measured ops: rows, the table and the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gankit.bench import append, bench_ops, check_plot, measure, op_cases, plot_ops, print_ops
from gankit.bench import run as bench_run


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Real rows, of the smallest shapes."""
    cases = [case for case in op_cases() if case.shape in ((1, 64, 4, 4), (1, 1, 30, 30), (1, 1, 2, 2))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_run, "op_cases", lambda *_: cases[::3])
        patch.setattr(bench_run, "measure", lambda c, clock: measure(c, clock, seconds=0.0))
        return bench_ops("cpu", compiled=False)


def test_rows_say_what_was_measured_where(rows: list[dict[str, Any]]) -> None:
    assert rows
    for row in rows:
        assert row["p10_ms"] <= row["median_ms"] <= row["p90_ms"]
        moved = row["bytes"] * {"forward": 2, "forward+backward": 5, "penalty": 10}[row["direction"]]
        if row["op"].startswith("patchgan"):
            moved = row["bytes"] * {"forward": 1, "forward+backward": 2}[row["direction"]]
        assert row["gbps"] == pytest.approx(moved / row["median_ms"] / 1e6)
        assert row["share_copy"] == pytest.approx(moved / (2 * row["bytes"] * row["ratio_copy"]))
        assert row["ratio_eager"] > 0
        assert row["ratio_compile"] is row["ratio_aten"] is row["ratio_compile_no_graphs"] is None
        assert {"device_name", "torch", "gankit", "commit", "native", "threads"} <= set(row)
        assert row["copies"] == 1
        assert (row["kept_bytes"] is None) == (row["direction"] != "forward+backward")


def on_a_gpu(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    gpu = {"device": "cuda", "device_name": "a GPU of paper", "cuda": "13.0", "ratio_compile": 1.5, "ratio_aten": 0.9}
    figures = ("ms", "gbps", "share_copy", "ratio_eager", "ratio_compile_no_graphs", "ratio_aten")
    gpu |= {f"device_{name}": 0.5 + i for i, name in enumerate(figures)}
    rows = [row | gpu | {"device_ratio_aten": 1 + i / 7} for i, row in enumerate(rows)]
    return [*rows[:-1], rows[-1] | {"device_share_copy": None}]


@pytest.mark.parametrize("gpu", [False, True])
def test_table(rows: list[dict[str, Any]], gpu: bool) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    rows = on_a_gpu(rows) if gpu else rows
    print_ops(rows, console)
    lines = console.export_text().splitlines()
    assert ("a GPU of paper, CUDA 13.0" in lines[0]) == any("aten" in line for line in lines) == gpu
    assert len([line for line in lines if " fwd" in line]) == len(
        [row for row in rows if "forward" in row["direction"]]
    )
    for row in rows:  # in full, however narrow the console is
        ratio = row["device_ratio_aten"] if gpu else row["ratio_eager"]
        assert any("x".join(map(str, row["shape"])) in line and f"{ratio:.2f}" in line for line in lines)
    assert gpu or max(map(len, lines)) <= 80


@pytest.mark.parametrize("gpu", [False, True])
def test_plot(rows: list[dict[str, Any]], gpu: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "ops.png"
    plot_ops(on_a_gpu(rows) if gpu else rows, path)
    from PIL import Image

    with Image.open(path) as picture:
        assert min(picture.size) > 400
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 20
    with pytest.raises(ValueError, match="exists already"):
        plot_ops(rows, path)


def test_plot_complains_before_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"must end in \.png"):
        check_plot(tmp_path / "ops.txt")
    with pytest.raises(ValueError, match="there is no directory"):
        check_plot(tmp_path / "none" / "ops.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 'gankit\[plot\]'"):
        check_plot(tmp_path / "ops.png")


def test_rows_are_appended_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "quality" / "gan.jsonl"
    for row in ({"ratio": 0.5, "name": "ü"}, {"ratio": float("inf")}):
        append(row, file)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"ratio": 0.5, "name": "ü"},
        {"ratio": float("inf")},
    ]
    append({"ratio": 1}, None)
