"""The CUDA kernels compile for every architecture without a warning, and keep all they hold in registers.

For two of them; with GANKIT_ARCHS set for all, which takes minutes more. This needs nvcc and the headers of any
torch, one without CUDA too; no GPU. What the kernels compute is not tested here: tests/csrc/test_cuda_*.cpp execute
them on the CPU, and tests/ops run them where there is a GPU.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sysconfig
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch.utils import cpp_extension

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "csrc/cuda").glob("*.cu"))
BINDINGS = sorted((ROOT / "csrc/cuda").glob("*.cpp"))
ARCHS = ("80", "86", "89", "90", "100", "120") if "GANKIT_ARCHS" in os.environ else ("80", "90")
NVCC = shutil.which("nvcc") or shutil.which("nvcc", path=os.path.join(cpp_extension.CUDA_HOME or os.sep, "bin"))
FLAGS = ["-std=c++20", "-O3", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020b000000000000"]  # setup.py's
FLAGS += [*cpp_extension.COMMON_NVCC_FLAGS, "-Werror", "all-warnings", "-Xptxas", "-v"]
FLAGS += ["-Xcompiler", "-Wall,-Wno-unknown-pragmas"]
pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")


@dataclass(frozen=True)
class Function:
    """What the assembler says of a kernel, in bytes a thread."""

    name: str
    stack: int
    spill_stores: int
    spill_loads: int

    @property
    def in_registers(self) -> bool:
        return self.stack == self.spill_stores == self.spill_loads == 0


def functions(report: str) -> list[Function]:
    """Every function in the output of `ptxas -v`."""
    figures = r"\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    matches = re.findall(rf"Function properties for (\S+)\n{figures}", report)
    found = [Function(name, *map(int, numbers)) for name, *numbers in matches]
    assert len(found) == report.count("Function properties for"), f"a report in an unknown form:\n{report}"
    return found


@functools.cache
def known_archs() -> frozenset[str]:
    listed = subprocess.run([str(NVCC), "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    return frozenset(re.findall(r"compute_(\d+)\b", listed))


def includes() -> list[str]:
    paths = [*cpp_extension.include_paths(), sysconfig.get_path("include")]
    return [flag for path in paths for flag in ("-isystem", path)]


def compile_for(source: Path, arch: str, out: Path, *, host: bool = False) -> subprocess.CompletedProcess[str]:
    """One architecture, to machine code; with `host` the launchers too."""
    command = [str(NVCC), "-c" if host else "-cubin", f"-gencode=arch=compute_{arch},code=sm_{arch}", *FLAGS]
    return subprocess.run([*command, *includes(), "-o", str(out), str(source)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Future]:
    """What the tests that were chosen need, as many at a time as there are processors (or MAX_JOBS)."""
    folder = tmp_path_factory.mktemp("cuda")
    here = [item.callspec.params for item in request.session.items if "compiled" in getattr(item, "fixturenames", ())]
    wanted = {(p["name"], p["arch"]) for p in here if p["arch"] in known_archs()}
    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS") or len(os.sched_getaffinity(0)))) as pool:
        return {
            (source.stem, arch): pool.submit(
                compile_for, source, arch, folder / f"{source.stem}-{arch}.o", host=arch == ARCHS[0]
            )
            for source in SOURCES
            for arch in ARCHS
            if (source.stem, arch) in wanted
        }


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_compiles_without_warnings_spills_and_stack_frames(
    name: str, arch: str, compiled: dict[tuple[str, str], Future]
) -> None:
    if arch not in known_archs():
        pytest.skip(f"this nvcc does not know sm_{arch}")
    done = compiled[name, arch].result()
    assert done.returncode == 0, done.stdout + done.stderr
    report = functions(done.stderr)
    assert report, f"no kernels in the report:\n{done.stderr}"
    assert not [f for f in report if not f.in_registers]


@pytest.mark.parametrize("source", BINDINGS, ids=[source.stem for source in BINDINGS])
def test_the_binding_to_torch_compiles_without_warnings(source: Path, tmp_path: Path) -> None:
    command = [str(NVCC), "-c", *FLAGS, "-Xcompiler", "-Werror", *includes(), "-o", str(tmp_path / "binding.o")]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


REGISTERS = """__global__ void kernel(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] * 2; }"""
SPILLS = """__global__ void __launch_bounds__(1024) kernel(const float* x, float* y) {
  float v[192];
#pragma unroll
  for (int i = 0; i < 192; ++i) v[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 192; ++i) y[i * 1024 + threadIdx.x] = v[i] * v[(i * 7 + 5) % 192];
}"""
LOCAL_ARRAY = """__global__ void kernel(const int* at, float* y, int n) {
  float v[64] = {};
  for (int i = 0; i < n; ++i) v[at[i] % 64] += 1;
  y[threadIdx.x] = v[threadIdx.x % 64];
}"""
WARNING = """__global__ void kernel(float* y) { int unused; y[threadIdx.x] = 1; }"""


@pytest.mark.parametrize(
    ("text", "compiles", "clean"),
    [(REGISTERS, True, True), (SPILLS, True, False), (LOCAL_ARRAY, True, False), (WARNING, False, False)],
    ids=["registers", "spills", "local array", "warning"],
)
def test_the_check_can_fail(text: str, compiles: bool, clean: bool, tmp_path: Path) -> None:
    source = tmp_path / "kernel.cu"
    source.write_text(text)
    done = compile_for(source, "90", tmp_path / "kernel.o")
    assert (done.returncode == 0) == compiles, done.stderr
    if compiles:
        (kernel,) = functions(done.stderr)
        assert kernel.in_registers == clean, kernel
        if text == SPILLS:
            assert kernel.spill_stores > 0
            assert kernel.spill_loads > 0
