"""What shards of millions of samples cost to open, and a batch of them to read.

    python benchmarks/bench_shards.py [--samples N] [--json FILE]

One packed shard stands for all: an index of `--samples` entries names its samples over and over, which no part of
gankit can tell from as many of their own. Opening and reading is a process of its own, which tells its peak of memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gankit.bench import append
from gankit.bench.run import machine
from gankit.data.made_up import MadeUp
from gankit.data.pack import pack
from gankit.plugin import DataSpec, Key

OPEN = """
import json, resource, sys, time
from gankit.data.loader import Loader
from gankit.data.shards import Shards, ShardsConfig
start = time.perf_counter()
data = Shards(ShardsConfig(root=sys.argv[1]))
length = len(data)
opened = time.perf_counter() - start
loader = Loader(data, 64, seed=0)
first = time.perf_counter() - start
loader.next()
start = time.perf_counter()
for _ in range(20):
    loader.next()
print(json.dumps({"samples": length, "open_seconds": round(opened, 3), "first_batch_seconds": round(first, 3),
                  "batch_seconds": round((time.perf_counter() - start) / 20, 4),
                  "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
"""


def made(root: Path, samples: int) -> None:
    """Shards of `samples` samples, of which a thousand are packed."""
    keys = {"image": Key(kind="image", shape=(3, 64, 64)), "label": Key(kind="class", names=tuple("0123456789"))}
    pack({"train": MadeUp(DataSpec(keys=keys), 1000)}, root)
    index = np.load(root / "train.npy")
    np.save(root / "train.npy", np.resize(index, samples))
    about = json.loads((root / "shards.json").read_text(encoding="utf-8"))
    about["parts"]["train"][""]["samples"] = samples
    (root / "shards.json").write_text(json.dumps(about), encoding="utf-8")


def row(samples: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder) / "shards", samples)
        ran = subprocess.run([sys.executable, "-c", OPEN, f"{folder}/shards"], stdout=subprocess.PIPE, check=True)
    return {"bench": "shards", **json.loads(ran.stdout)} | machine(torch.device("cpu"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--json", type=Path, help="append the row to this file")
    options = parser.parse_args()
    result = row(options.samples)
    print(f"{result['samples']} samples: open after {result['open_seconds']} s, ready for the first batch of 64 after")
    print(f"{result['first_batch_seconds']} s, {result['batch_seconds']} s a batch, {result['peak_mib']} MiB at most")
    append(result, options.json)
