"""Peak memory of ``evaluate`` on large images, by the system's own account: a row in ``results/memory.jsonl``.

``python benchmarks/eval_memory.py --json benchmarks/results/memory.jsonl`` judges 1000 samples of a made-up generator
against made-up images with classes, with all metrics and the sheet of neighbours; the judge is trained in the same
process. ``--translate`` draws from held-out images in place of noise. Memory is managed as ``gankit eval`` does
(`gankit.cli.process`), or with ``--malloc default`` as Python does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gankit.bench import append
from gankit.evaluate import METRICS, evaluate
from gankit.plugin import Config, Dataset, DataSpec, Key, Phase, SampleRequest, Variant
from gankit.version import __version__


class MadeUp(Dataset[Config]):
    """Stripes in one of two directions, of a size and place that the index says; made when asked for."""

    def __init__(self, size: int, count: int, split: str = "train") -> None:
        super().__init__(Config(), "train" if split == "train" else "test")
        self.size, self.count = size, count

    @property
    def spec(self) -> DataSpec:
        image = Key(kind="image", shape=(3, self.size, self.size))
        return DataSpec(keys={"image": image, "label": Key(kind="class", names=("upright", "flat"))})

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        label = indices % 2
        line = torch.arange(self.size)
        phase = (indices * 37 + (self.split == "test") * 5)[:, None]
        wave = (127 + 120 * torch.sin((line + phase) / (4 + indices[:, None] % 23))).to(torch.uint8)
        images = torch.where(label[:, None, None] == 0, wave[:, None, :], wave[:, :, None])
        return {"image": images[:, None].expand(-1, 3, -1, -1).contiguous(), "label": label}


class Upscaler(Variant[Config]):
    """Convolutions of a noise map, up to the size of the data."""

    dataset = "made-up"
    conditions = frozenset({"label"})

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        layers: list[nn.Module] = [nn.Conv2d(8, 8, 3, padding=1)]
        for _ in range((spec.image_shape[1] // 16).bit_length() - 1):
            layers += [nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1)]
        return {"generator": nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())}

    def phases(self) -> Sequence[Phase]:
        return ()

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return networks["generator"](request.noise(request.n, 8, 16, 16))


class Translator(Upscaler):
    """One convolution of an image."""

    conditions = frozenset({"image"})
    random = False

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        return {"generator": nn.Conv2d(3, 3, 3, padding=1)}

    def sample(self, networks: Mapping[str, nn.Module], request: SampleRequest) -> Tensor:
        return networks["generator"](request.batch["image"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--images", type=int, default=2000, help="training images; half as many are held out")
    parser.add_argument("--translate", action="store_true")
    parser.add_argument("--malloc", choices=("gankit", "default"), default="gankit")
    parser.add_argument("--json", type=Path, help="append the row to this file")
    options = parser.parse_args()
    train, test = MadeUp(options.size, options.images), MadeUp(options.size, options.images // 2, "test")
    torch.manual_seed(0)
    variant = (Translator if options.translate else Upscaler)(Config())
    metrics = set(METRICS) - ({"accuracy"} if options.translate else set())
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANKIT_CACHE"] = folder  # so that the judge is trained here, and its memory counts
        networks = variant.networks(train.spec)
        sheet = Path(folder) / "neighbours.png"
        result = evaluate(variant, networks, train.spec, train, test, n=options.n, metrics=metrics, sheet=sheet)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    row = {
        "bench": "eval_memory",
        "variant": type(variant).__name__.lower(),
        "image": [3, options.size, options.size],
        "n": result["n"],
        "train_images": len(train),
        "held_out_images": len(test),
        "metrics": sorted(result["metrics"]),
        "peak_rss_mib": round(peak / 2**20),
        "malloc": options.malloc,
        "seconds": round(time.perf_counter() - began, 1),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gankit": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    append(row, options.json)
    print(json.dumps(row))


CHILD = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from gankit.cli import process
if "default" not in sys.argv:
    process.settle()  # before torch is loaded, which this file does
import eval_memory
eval_memory.main()
"""

if __name__ == "__main__":
    here = str(Path(__file__).parent)
    raise SystemExit(subprocess.run([sys.executable, "-c", CHILD, here, *sys.argv[1:]], check=False).returncode)
