"""Builds `gankit._C` (CPU kernels) and, against a CUDA build of torch with nvcc at hand, `gankit._C_cuda`.

Both are optional: where one cannot be built, a warning says why, the installation goes on, and the reference formulas
run in its place. Environment: GANKIT_CUDA=0/1 leaves out or insists on CUDA, TORCH_CUDA_ARCH_LIST picks the
architectures (else those of the GPUs that are here, or many where there is none), MAX_JOBS limits the parallel compiler
processes.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from glob import glob
from pathlib import Path

import torch
from setuptools import setup
from torch.utils import cpp_extension
from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

TORCH_TARGET = "0x020b000000000000"  # torch 2.11: the oldest whose stable ABI the build uses
DEFAULT_ARCHS = ("8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
CXX_FLAGS = ["-O3", "-std=c++20", "-fvisibility=hidden", "-Wall", "-Wno-unknown-pragmas", "-g0"]
# NaN, Inf and signed zero keep their meaning; only errno and floating-point traps, which nobody reads, are dropped.
KERNEL_FLAGS = [*CXX_FLAGS, "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC"]
KERNEL_FLAGS += ["-Wno-maybe-uninitialized"]  # gcc 12 says so of its own AVX-512 headers
CAPABILITIES = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    avx2 = ["-mavx2", "-mfma", "-mf16c"]
    avx512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mprefer-vector-width=512"]
    CAPABILITIES |= {"avx2": avx2, "avx512": avx2 + avx512}


def warn(text: str) -> None:
    print(f"\n*** gankit: {text}\n", file=sys.stderr, flush=True)


def nvcc() -> str | None:
    """Path of the CUDA compiler that torch would use."""
    home = cpp_extension.CUDA_HOME
    path = Path(home or "", "bin", "nvcc")
    return str(path) if home and path.exists() else None


def find_toolkit(compiler: str) -> None:
    """Points torch at the toolkit that nvcc belongs to: torch takes nvcc's own folder for it, which is wrong where nvcc
    is a link or a wrapper in another place, and then libcudart is not found."""
    if "CUDA_HOME" in os.environ or "CUDA_PATH" in os.environ:
        return
    steps = subprocess.run([compiler, "-dryrun", "-x", "cu", os.devnull], capture_output=True, text=True).stderr
    if top := re.search(r"^#\$ TOP=(.+)$", steps, re.MULTILINE):
        root = Path(top[1].strip()).resolve()
        if Path(root, "bin", "nvcc").exists():
            cpp_extension.CUDA_HOME = str(root)


def wants_cuda() -> bool:
    wish = os.environ.get("GANKIT_CUDA", "")
    if wish not in ("", "0", "1"):
        raise SystemExit(f"GANKIT_CUDA must be 0 or 1, got {wish!r}")
    if wish == "1" and torch.version.cuda is None:
        raise SystemExit(f"GANKIT_CUDA=1 needs a CUDA build of torch, found torch {torch.__version__}")
    if wish == "1" and nvcc() is None:
        raise SystemExit("GANKIT_CUDA=1 needs nvcc, found none: install the CUDA toolkit or set CUDA_HOME")
    return wish == "1" or (wish == "" and torch.version.cuda is not None and nvcc() is not None)


def gpus() -> set[str]:
    """Capabilities of the GPUs that are here."""
    try:
        found = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
    except (AssertionError, RuntimeError) as error:  # a driver that is too old for torch, say
        warn(f"there is a GPU that torch cannot use ({str(error).strip().splitlines()[0]})")
        return set()
    return {f"{major}.{minor}" for major, minor in found}


def cuda_archs() -> str:
    """TORCH_CUDA_ARCH_LIST, or those of the GPUs that are here, or those of the default list; of the last two what this
    nvcc knows, and PTX of the newest, which later GPUs can run too."""
    if given := os.environ.get("TORCH_CUDA_ARCH_LIST"):
        return given
    listed = subprocess.run([nvcc(), "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    known = {f"{int(a) // 10}.{int(a) % 10}" for a in re.findall(r"compute_(\d+)\b", listed)}
    if here := sorted((gpus() & known) - {a for a in known if float(a) < 8}, key=float):
        return ";".join(here) + "+PTX"
    return ";".join(a for a in DEFAULT_ARCHS if a in known) + "+PTX"


def extensions() -> list:
    common = {"define_macros": [("TORCH_TARGET_VERSION", TORCH_TARGET)], "optional": True}
    cpu = CppExtension(
        "gankit._C",
        sorted(glob("csrc/*.cpp")),
        depends=glob("csrc/**/*.*h", recursive=True),
        extra_compile_args={"cxx": [*CXX_FLAGS, f'-DGANKIT_TORCH_VERSION="{torch.__version__}"']},
        **common,
    )
    if not wants_cuda():
        for stale in glob("gankit/_C_cuda*.so"):  # of an earlier build, for another _C
            os.unlink(stale)
        return [cpu]
    find_toolkit(nvcc())
    os.environ["TORCH_CUDA_ARCH_LIST"] = cuda_archs()
    cuda = CUDAExtension(
        "gankit._C_cuda",
        sorted(glob("csrc/cuda/*.cu") + glob("csrc/cuda/*.cpp")),
        depends=glob("csrc/**/*.*h", recursive=True),
        extra_compile_args={"cxx": [*CXX_FLAGS, "-DUSE_CUDA"], "nvcc": ["-O3", "-std=c++20", "-DUSE_CUDA"]},
        **common,
    )
    return [cuda, cpu]  # CUDA first: build_info() in _C tells whether it came off


class BuildOptional(BuildExtension):
    """Compiles the CPU kernels once per capability, and turns a failed extension into a warning."""

    def build_extensions(self) -> None:
        wanted = self.extensions
        for extension in wanted:
            self.extensions = [extension]
            extension.optional = False  # setuptools would swallow the error, and keep an earlier build's library
            try:
                super().build_extensions()
            except (Exception, SystemExit) as error:
                if extension.name == "gankit._C_cuda" and os.environ.get("GANKIT_CUDA") == "1":
                    raise
                self.discard(extension)
                reason = str(error).strip().splitlines()
                warn(
                    f"{extension.name} was not built ({reason[0] if reason else type(error).__name__}). gankit works "
                    "without it, on slower formulas; install a C++20 compiler and install again for the fast kernels."
                )
            extension.optional = True  # one that is not there is left out when libraries are put in place
        self.extensions = wanted

    def build_extension(self, extension) -> None:
        if extension.name == "gankit._C":
            extension.extra_objects = self.kernel_objects()
            if Path(self.get_ext_fullpath("gankit._C_cuda")).exists() and wants_cuda():
                for name, value in (("VERSION", torch.version.cuda), ("ARCHS", os.environ["TORCH_CUDA_ARCH_LIST"])):
                    extension.extra_compile_args["cxx"].append(f'-DGANKIT_CUDA_{name}="{value}"')
        super().build_extension(extension)

    def kernel_objects(self) -> list[str]:
        """csrc/cpu/*.cpp, once for each instruction set, in a namespace of its own."""
        objects = []
        for capability, flags in CAPABILITIES.items():
            objects += self.compiler.compile(
                sorted(glob("csrc/cpu/*.cpp")),
                output_dir=os.path.join(self.build_temp, capability),
                extra_postargs=[*KERNEL_FLAGS, *flags, f"-DGANKIT_CPU_CAPABILITY={capability}"],
                depends=glob("csrc/**/*.*h", recursive=True),
            )
        return objects

    def discard(self, extension) -> None:
        """No library of an earlier build may stand in for one that failed: its ops could be other ones."""
        in_place = Path("gankit", Path(self.get_ext_filename(extension.name)).name)
        for path in (Path(self.get_ext_fullpath(extension.name)), in_place):
            path.unlink(missing_ok=True)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOptional})
