"""The committed rows as one page: docs/results.md.

    python benchmarks/results_page.py            writes the page
    python benchmarks/results_page.py --check    exit code 1 if the rows say something else

Of rows about the same (what was trained, its data, preset and options) those of as many steps as the newest count, of
each seed the newest. Nothing is measured here, and nothing stands in the page that is not in a row.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent
PAGE = HOME.parent / "docs" / "results.md"
ABOUT = {"seed", "steps", "seconds", "n", "size", "threads", "batch_size", "images", "dimensions", "hidden", "paired"}
ABOUT |= {"minutes_in_all", "peak_mib", "memorised", "cudnn", "num", "modes_kl_to_uniform"}
"""Numbers of a quality row that are no figures."""

Row = Mapping[str, Any]


def rows(*names: str) -> list[Row]:
    """Of the files of these names under results, in the order in which they were written."""
    files = [file for name in names for file in sorted((HOME / "results").glob(name))]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


def short(value: float) -> str:
    """Three significant digits, or four of a share."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.4g}" if 0.1 <= abs(value) < 1 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def latest(found: Iterable[Row], *by: str) -> list[Row]:
    """The last row of each that agrees in the values `by`."""
    return list({json.dumps([row.get(name) for name in by]): row for row in found}.values())


# -- quality ---------------------------------------------------------------------------------------------------------


def said(options: Any) -> str:
    """Options of a run as they are typed."""
    if isinstance(options, Mapping):
        # a row that was made from a run has its options as the run has them
        flat = {k: v for k, v in options.items() if not isinstance(v, Mapping)}
        return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in flat.items())
    words = list(options or [])
    if "--preset" in words:  # it has a column of its own
        at = words.index("--preset")
        words[at : at + 2] = []
    return " ".join(words)


def figures(row: Row) -> dict[str, float]:
    """The numbers that were measured, by name."""
    found: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{name} {key}" if name else key, inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)

    if "metrics" in row:
        add("", {k: v for k, v in row["metrics"].items() if not k.startswith(("swd_", "diversity"))})
        add("worst", row.get("worst") or {})
    else:
        skip = ("beside", "judge", "truth", "options", "plugins", "floor", "course")
        add("", {k: v for k, v in row.items() if k not in skip})
    return {name: value for name, value in found.items() if name.split(" ")[-1] not in ABOUT}


def alike(values: Iterable[str]) -> str:
    """Once what is the same of all seeds."""
    found = list(values)
    return found[0] if len(set(found)) == 1 else ", ".join(found)


def quality() -> str:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows("quality/*.jsonl"):
        of = row.get("variant") or row["quality"]
        judged = "" if "metrics" in row else "by its own measure"
        data = " ".join(part for part in (row.get("dataset"), row.get("way")) if part)
        key = (of, data, row.get("preset") or "", said(row.get("options")), judged)
        groups.setdefault(key, []).append(row)
    lines, trials = [], 0
    for (of, data, preset, options, how), found in sorted(groups.items()):
        steps = found[-1].get("steps")
        kept = {row.get("seed"): row for row in found if row.get("steps") == steps}
        kept = dict(sorted(kept.items(), key=lambda pair: (pair[0] is None, pair[0])))
        if len(kept) == 1 and options:
            trials += 1
            continue
        measured = [figures(row) for row in kept.values()]
        names = list(dict.fromkeys(name for one in measured for name in one))[:9]
        told = [f"{name} {alike(short(one[name]) if name in one else '-' for one in measured)}" for name in names]
        minutes = [row.get("minutes_in_all") or row.get("seconds", 0) / 60 for row in kept.values()]
        machines = {row.get("gpu") or f"{row.get('threads', '?')} thr." for row in kept.values()}
        memory = [row["peak_mib"] for row in kept.values() if row.get("peak_mib")]
        seeds = ", ".join(str(seed) for seed in kept if seed is not None)
        length = f"{steps:,}" if isinstance(steps, int) else str(steps[-1]) if steps else ""
        took = ", ".join(f"{one:.1f}" for one in minutes if one)
        about = f"{took} ({'; '.join(sorted(machines))})" if took else ""
        named = (f"`{of}`", data, preset if preset != "default" else "", f"`{options}`" if options else "", how)
        what = " ".join(part for part in named if part)
        lines.append([what, seeds, length, about, f"{max(memory):,}" if memory else "", "; ".join(told)])
    text = table(["what", "seeds", "steps", "minutes (on)", "MiB", "figures, a seed each"], lines)
    return f"{text}\n{trials} more trials of one seed with other options are in the files.\n"


# -- speed -----------------------------------------------------------------------------------------------------------


def ops() -> str:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in latest(rows("ops-*.jsonl"), "op", "shape", "dtype", "layout", "direction", "device_name", "threads"):
        if "ratio_eager" in row:
            machine = f"{row['device_name']}" + (f", {row['threads']} thr." if row["device"] == "cpu" else "")
            groups.setdefault((row["op"], machine, row["dtype"], row["direction"]), []).append(row)

    def middle(found: Sequence[Row], name: str) -> str:
        values = [row[name] for row in found if row.get(name)]
        return f"{statistics.median(values):.2f}" if values else ""

    names = ("ratio_eager", "ratio_compile", "share_copy", "device_ratio_eager", "device_share_copy")
    lines = [
        [f"`{key[0]}`", *key[1:], str(len(found)), *(middle(found, name) for name in names)]
        for key, found in sorted(groups.items())
    ]
    head = ["op", "on", "dtype", "direction", "shapes", "x eager", "x torch.compile", "share of a copy"]
    return table([*head, "x eager, replayed", "share, replayed"], lines)


def steps() -> str:
    lines = [
        [
            f"`{r['variant']}`",
            r["dataset"],
            str(r["batch_size"]),
            r["precision"],
            f"{r.get('gpu') or r['device']}, {r['threads']} thr.",
            f"{r['trainer_ms']:.1f}",
            f"{r['loop_ms']:.1f}",
            f"{r['ratio']:.2f}",
        ]
        for r in latest(rows("step.jsonl"), "variant", "dataset", "batch_size", "precision", "device", "threads")
    ]
    return table(
        ["variant", "data", "batch", "precision", "on", "trainer, ms", "loop, ms", "trainer / loop"], sorted(lines)
    )


def processes() -> str:
    lines = [
        [
            f"`{r['variant']}`",
            " ".join(f"--{k} {v}" for k, v in dict(r["options"]).items()),
            r["device_name"],
            f"{r['one_ms']:.0f}",
            f"{r['many_ms']:.0f}",
            f"{r['throughput']:.2f}",
            f"{r['loop_ms']:.0f}",
        ]
        for r in latest(
            (r for r in rows("processes.jsonl") if r["bench"] == "processes"), "variant", "options", "device_name"
        )
    ]
    return table(
        ["variant", "options", "on", "one of two threads, ms", "two of one, ms", "two / one", "loop, ms"], sorted(lines)
    )


def by_hand() -> str:
    lines = [
        [
            f"{r['size']}x{r['size']}",
            str(r["batch"]),
            r["precision"],
            r.get("gpu") or f"CPU, {r['threads']} thr.",
            f"{r['ours_ms']:.0f}",
            f"{r['by_hand_ms']:.0f}",
            f"{r['times_faster']:.2f}",
            f"{r['kept_ratio']:.2f}",
        ]
        for r in latest(
            rows("cyclegan.jsonl"), "size", "batch", "precision", "device", "gpu", "threads", "cudnn_benchmark"
        )
    ]
    return table(
        ["images", "batch", "precision", "on", "ours, ms", "by hand, ms", "times faster", "memory kept, of by hand"],
        lines,
    )


def options() -> str:
    lines = [
        [f"`{r['variant']}`", said(r["options"]), said(r["than"]) or "default", r["device_name"], f"{r['ratio']:.2f}"]
        for r in latest(rows("options.jsonl"), "variant", "options", "than", "device_name")
    ]
    return table(["variant", "with", "to", "on", "time of a step"], sorted(lines))


def text() -> str:
    return f"""# Results

Every figure here is a row of `benchmarks/results/`, and `python benchmarks/results_page.py` writes this page from them.
A row also has the versions, the machine and the time; what the metrics are is told in [evaluation](evaluation.md), what
the variants' own figures are in the pages of their plugins. Ratios were taken in one run, taking turns. Minutes are of
different machines, some of trainings that ran beside other work.

## What variants are worth

Of held-out data, by judges that training never saw. Of each of the seeds in turn.

{quality()}
## Ops

Medians over shapes and layouts: how many times as fast as the same formula in eager torch and by torch.compile, and as
what share of a copy of all that is read and written. On CUDA also as a CUDA graph replays it.

{ops()}
## A step of the trainer and the same losses in a plain loop

{steps()}
## CycleGAN's step and one written by hand in plain torch

{by_hand()}
## One process and two

{processes()}
## Options of speed

Below 1 is faster.

{options()}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not what the rows say")
    made = text()
    if parser.parse_args().check:
        if same := PAGE.exists() and PAGE.read_text(encoding="utf-8") == made:
            return 0
        print(f"{PAGE} is not what the rows say: run {Path(__file__).name}", file=sys.stderr)
        return int(not same)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
