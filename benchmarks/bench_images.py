"""A folder of images that does not fit: how long its first filling takes, and how fast batches come the second time.

    python benchmarks/bench_images.py [--images N ...] [--size PIXELS] [--json FILE]

Writes N JPEG files of 178x218 pixels (those of CelebA) into a temporary directory, and opens them as the dataset
``folder`` in processes of their own: the first decodes them into the cache, the second finds them there. Against that
stands what one writes in a notebook: all images in one uint8 array in memory, batches picked by index, by torch and by
numpy, of which the faster counts. Batches are random ones of 64; an epoch is all images once. All processes keep freed
memory, as ``gankit run`` makes glibc do. Peak memory is the system's account of the process (``VmHWM``); of it, what is
mapped from the file (``RssFile``) goes back to the system when somebody needs it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gankit.bench import append
from gankit.data.folder import FolderConfig, ImageFolder
from gankit.data.loader import Loader
from gankit.events import ignore

BATCH = 64


def write_images(root: Path, count: int, kinds: int = 200) -> None:
    """`count` files, of `kinds` different pictures that look smooth to a decoder, as photographs do."""
    draw = np.random.default_rng(0)
    encoded = []
    for _ in range(min(kinds, count)):
        coarse = Image.fromarray(draw.integers(0, 256, (28, 23, 3), dtype=np.uint8))
        data = io.BytesIO()
        coarse.resize((178, 218), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
        encoded.append(data.getvalue())
    for number in range(count):
        (root / f"{number:06d}.jpg").write_bytes(encoded[number % len(encoded)])


def memory() -> dict[str, float]:
    """Peak and present memory of this process, in MiB."""
    wanted = {"VmHWM": "peak_mib", "RssAnon": "own_mib", "RssFile": "mapped_mib"}
    rows = (line.split() for line in Path("/proc/self/status").read_text().split("\n") if line)
    return {wanted[row[0][:-1]]: round(int(row[1]) / 1024) for row in rows if row[0][:-1] in wanted}


def rate(batch: Callable[[torch.Tensor], object], count: int, seed: int) -> float:
    """Images a second over one epoch in random order."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).split(BATCH)
    begin = time.perf_counter()
    for indices in order:
        batch(indices)
    return count / (time.perf_counter() - begin)


def opened(root: Path, size: int) -> dict[str, Any]:
    """What a process finds that opens the folder as a run does."""
    begin = time.perf_counter()
    dataset = ImageFolder(FolderConfig(root=str(root), size=size, test_fraction=0))
    dataset.load(ignore)
    seconds = time.perf_counter() - begin
    count = len(dataset)
    rates = [rate(dataset.batch, count, seed) for seed in range(3)]
    with Loader(dataset, BATCH, workers=2) as loader:
        loader.next()
        begin = time.perf_counter()
        for _ in range(count // BATCH):
            loader.next()
        loaded = (count // BATCH) * BATCH / (time.perf_counter() - begin)
    return {
        "open_seconds": round(seconds, 2),
        "first_epoch_images_per_second": round(rates[0]),
        "images_per_second": round(max(rates[1:])),
        "loader_images_per_second": round(loaded),
        **memory(),
    }


def plain(count: int, size: int) -> dict[str, Any]:
    """The notebook's way."""
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    array = images.numpy()
    return {
        "torch_images_per_second": round(max(rate(lambda i: images[i], count, seed) for seed in range(3))),
        "numpy_images_per_second": round(max(rate(lambda i: array[i.numpy()], count, seed) for seed in range(3))),
        **memory(),
    }


def measure(what: str, root: Path, count: int, size: int) -> dict[str, Any]:
    """One part, in a process of its own."""
    command = [sys.executable, __file__, "--part", what, str(root), str(count), "--size", str(size)]
    kept = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ, **kept})
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def row(count: int, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="gankit-images-") as place:
        root = Path(place) / "images"
        root.mkdir()
        os.environ["GANKIT_CACHE"] = str(Path(place) / "cache")
        write_images(root, count)
        first, second = measure("folder", root, count, size), measure("folder", root, count, size)
        notebook = measure("plain", root, count, size)
        entries = list((Path(place) / "cache" / "images").glob("*.rows"))
        cached = sum(entry.stat().st_size for entry in entries)
    fastest = max(notebook["torch_images_per_second"], notebook["numpy_images_per_second"])
    return {
        "bench": "images",
        "images": count,
        "size": size,
        "cache_bytes": cached,
        "fill_seconds": first["open_seconds"],
        "fill_images_per_second": round(count / first["open_seconds"]),
        "fill_peak_mib": first["peak_mib"],
        **second,
        "torch_images_per_second": notebook["torch_images_per_second"],
        "numpy_images_per_second": notebook["numpy_images_per_second"],
        "plain_peak_mib": notebook["peak_mib"],
        "ratio": round(second["images_per_second"] / fastest, 3),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[40_000, 50_000])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        what, root, count = arguments.part
        torch.set_num_threads(1)
        found = plain(int(count), arguments.size) if what == "plain" else opened(Path(root), arguments.size)
        print(json.dumps(found))
        return
    for count in arguments.images:
        measured = row(count, arguments.size)
        print(
            f"{count} images: filled in {measured['fill_seconds']} s, opened again in {measured['open_seconds']} s, "
            f"{measured['images_per_second']} images/s, plain {measured['numpy_images_per_second']} (numpy) and "
            f"{measured['torch_images_per_second']} (torch), "
            f"ratio {measured['ratio']}, peak {measured['peak_mib']} MiB ({measured['own_mib']} its own)",
            file=sys.stderr,
        )
        append(measured, arguments.json)


if __name__ == "__main__":
    main()
