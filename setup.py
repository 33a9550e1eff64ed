"""Builds `gankit._C` (CPU kernels) and, against a CUDA build of torch with nvcc at hand, `gankit._C_cuda`.

Both are optional: where one cannot be built, whatever its compiler does, a warning says why, the installation goes on,
and the reference formulas run in its place. Environment: GANKIT_CUDA=0/1 leaves out or insists on CUDA,
TORCH_CUDA_ARCH_LIST picks the architectures (else those of the GPUs that are here, or many where there is none),
MAX_JOBS limits the parallel compiler processes. GANKIT_WHEEL=cpu/cuda makes a wheel for others (`make dist`): all that
it is to hold must build, and the CUDA wheel's version names its CUDA, as 0.1.0+cu130.
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
from setuptools import Extension, setup
from torch.utils import cpp_extension
from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

TORCH_TARGET = "0x020b000000000000"  # torch 2.11: the oldest whose stable ABI the build uses
DEFAULT_ARCHS = ("8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
# What is built says nothing of where: torch's checks and ours compile the names of their files in.
PREFIX_MAPS = [f"-ffile-prefix-map={os.getcwd()}/=", f"-ffile-prefix-map={Path(torch.__file__).parents[1]}/="]
CXX_FLAGS = ["-O3", "-std=c++20", "-fvisibility=hidden", "-Wall", "-Wno-unknown-pragmas", "-g0", *PREFIX_MAPS]
# NaN, Inf and signed zero keep their meaning; only errno and floating-point traps, which nobody reads, are dropped.
KERNEL_FLAGS = [*CXX_FLAGS, "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC"]
KERNEL_FLAGS += ["-Wno-maybe-uninitialized"]  # gcc 12 says so of its own AVX-512 headers
CAPABILITIES = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    avx2 = ["-mavx2", "-mfma", "-mf16c"]
    avx512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mprefer-vector-width=512"]
    CAPABILITIES |= {"avx2": avx2, "avx512": avx2 + avx512}


CPU, CUDA = "gankit._C", "gankit._C_cuda"


class CannotBuild(Exception):
    """Why there can be no CUDA kernels, as a clause."""


def warn(text: str) -> None:
    print(f"\n*** gankit: {text}\n", file=sys.stderr, flush=True)


def clause(error: BaseException) -> str:
    """An error on one line. torch leaves some messages to be filled in from the arguments that follow them."""
    text, rest = str(error), error.args[1:]
    if rest and isinstance(error.args[0], str) and error.args[0].count("%s") == len(rest):
        text = error.args[0] % rest
    return (" ".join(text.split()) or type(error).__name__)[:300].rstrip(". ")


def ask(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a compiler for what it prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotBuild(f"{command[0]} does not run ({clause(error)})") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotBuild(
            f"{' '.join(command)} failed with exit status {done.returncode}{f': {said[-1]}' if said else ''}"
        )
    return done


def wheel() -> str:
    """GANKIT_WHEEL: "cpu", "cuda" or, where nothing is built for others, empty."""
    kind = os.environ.get("GANKIT_WHEEL", "")
    if kind not in ("", "cpu", "cuda"):
        raise SystemExit(f"GANKIT_WHEEL must be cpu or cuda, got {kind!r}")
    return kind


def cuda_wish() -> str:
    """GANKIT_CUDA: "0", "1" or empty. A wheel for others has its own."""
    if kind := wheel():
        return "1" if kind == "cuda" else "0"
    wish = os.environ.get("GANKIT_CUDA", "")
    if wish not in ("", "0", "1"):
        raise SystemExit(f"GANKIT_CUDA must be 0 or 1, got {wish!r}")
    return wish


def version() -> str:
    """gankit/version.py's; of the CUDA wheel with the CUDA that its kernels are built with."""
    text = Path("gankit", "version.py").read_text(encoding="utf-8")
    (found,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return f"{found}+cu{(torch.version.cuda or '').replace('.', '')}" if wheel() == "cuda" else found


def nvcc() -> str:
    """Path of the CUDA compiler that torch would use; one that runs."""
    home = cpp_extension.CUDA_HOME
    path = Path(home or "", "bin", "nvcc")
    if not home or not path.exists():
        raise CannotBuild(f"there is no {path if home else 'nvcc'}: install the CUDA toolkit or set CUDA_HOME")
    ask(str(path), "--version")
    return str(path)


def find_toolkit(compiler: str) -> None:
    """Points torch at the toolkit that nvcc belongs to: torch takes nvcc's own folder for it, which is wrong where nvcc
    is a link or a wrapper in another place, and then libcudart is not found."""
    if "CUDA_HOME" in os.environ or "CUDA_PATH" in os.environ:
        return
    if top := re.search(r"^#\$ TOP=(.+)$", ask(compiler, "-dryrun", "-x", "cu", os.devnull).stderr, re.MULTILINE):
        root = Path(top[1].strip()).resolve()
        if Path(root, "bin", "nvcc").exists():
            cpp_extension.CUDA_HOME = str(root)


def gpus() -> set[str]:
    """Capabilities of the GPUs that are here."""
    try:
        found = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
    except Exception as error:  # a driver that is too old for torch, say
        warn(f"there is a GPU that torch cannot use ({clause(error)})")
        return set()
    return {f"{major}.{minor}" for major, minor in found}


def cuda_archs(compiler: str) -> str:
    """TORCH_CUDA_ARCH_LIST, or those of the GPUs that are here, or, where there are none and for a wheel, those of the
    default list; of the last two what this nvcc knows, and PTX of the newest, which later GPUs can run too."""
    if given := os.environ.get("TORCH_CUDA_ARCH_LIST"):
        return given
    listed = ask(compiler, "--list-gpu-arch").stdout
    known = {f"{int(a) // 10}.{int(a) % 10}" for a in re.findall(r"compute_(\d+)\b", listed)}
    here = [] if wheel() else sorted((gpus() & known) - {a for a in known if float(a) < 8}, key=float)
    chosen = here or [a for a in DEFAULT_ARCHS if a in known]
    if not chosen:
        raise CannotBuild(f"{compiler} compiles for none of the architectures {', '.join(DEFAULT_ARCHS)}")
    return ";".join(chosen) + "+PTX"


COMMON = {"define_macros": [("TORCH_TARGET_VERSION", TORCH_TARGET)], "depends": glob("csrc/**/*.*h", recursive=True)}
# Before torch's libraries, which happen to export parts of it: each torch other ones.
LIBRARIES = ("stdc++",) if sys.platform == "linux" else ()


def cpu_extension() -> Extension:
    flags = [*CXX_FLAGS, f'-DGANKIT_TORCH_VERSION="{torch.__version__}"']
    try:  # it comes before torch's own copy, which in torch 2.11 refuses the stable ABI
        from pybind11 import get_include
    except ImportError:
        include = []
    else:
        include = [get_include()]
    sources = sorted(glob("csrc/*.cpp"))
    compiled = {"include_dirs": include, "extra_compile_args": {"cxx": flags}, "libraries": list(LIBRARIES)}
    return CppExtension(CPU, sources, **compiled, **COMMON)


def cuda_extension() -> Extension:
    """Raises CannotBuild."""
    if wheel() == "cpu":
        raise CannotBuild("this is the CPU wheel; the CUDA wheel or a build from source has them")
    if cuda_wish() == "0":
        raise CannotBuild("they were left out, by GANKIT_CUDA=0")
    if torch.version.cuda is None:
        raise CannotBuild(f"torch {torch.__version__} is built without CUDA")
    compiler = nvcc()
    find_toolkit(compiler)
    os.environ["TORCH_CUDA_ARCH_LIST"] = cuda_archs(compiler)
    sources = sorted(glob("csrc/cuda/*.cu") + glob("csrc/cuda/*.cpp"))
    maps = [word for flag in PREFIX_MAPS for word in ("-Xcompiler", flag)]
    flags = {"cxx": [*CXX_FLAGS, "-DUSE_CUDA"], "nvcc": ["-O3", "-std=c++20", "-DUSE_CUDA", *maps]}
    try:
        return CUDAExtension(CUDA, sources, extra_compile_args=flags, libraries=list(LIBRARIES), **COMMON)
    except Exception as error:  # a toolkit without its folders
        raise CannotBuild(clause(error)) from error


class BuildOptional(BuildExtension):
    """Compiles the CPU kernels once per capability, and turns a failed extension into a warning."""

    without_cuda = ""
    """Why there are no CUDA kernels; empty if there are. Compiled into `gankit._C`, for `gankit doctor`."""

    def run(self) -> None:
        if self.without_cuda:
            if cuda_wish() == "1":
                raise SystemExit(f"GANKIT_CUDA=1 asks for CUDA kernels, but {self.without_cuda}")
            if cuda_wish() != "0" and torch.version.cuda is not None:
                warn(f"no CUDA kernels: {self.without_cuda}. gankit works without them, on slower formulas.")
            self.discard(CUDA)
        super().run()

    def build_extensions(self) -> None:
        wanted = self.extensions
        for extension in wanted:
            self.extensions = [extension]
            extension.optional = False  # setuptools would swallow the error, and keep an earlier build's library
            try:
                super().build_extensions()
            except (Exception, SystemExit) as error:
                self.go_on_without(extension.name, clause(error))
            extension.optional = True  # one that is not there is left out when libraries are put in place
        self.extensions = wanted

    def go_on_without(self, name: str, reason: str) -> None:
        """Unless CUDA is insisted on, which needs both libraries, or others are to have what is built."""
        what = "CUDA" if name == CUDA else "CPU"
        if wheel():
            raise SystemExit(f"no {wheel()} wheel: {name} cannot be built: {reason}")
        if cuda_wish() == "1":
            raise SystemExit(f"GANKIT_CUDA=1 asks for CUDA kernels, but {name} cannot be built: {reason}")
        self.discard(CUDA)  # it is of no use without the other
        if name == CUDA:
            self.without_cuda = reason
        else:
            self.discard(CPU)
        advice = "" if name == CUDA else " Install a C++20 compiler and install again for the fast kernels."
        warn(
            f"no {what} kernels: {name} cannot be built ({reason}). What the compiler said stands above; with pip, "
            f"`pip install -v` shows it. gankit works without them, on slower formulas.{advice}"
        )

    def build_extension(self, extension: Extension) -> None:
        if extension.name == CPU:
            self.force = True  # its macros about CUDA may have changed though no source has
            extension.extra_objects = self.kernel_objects()
            extension.extra_compile_args["cxx"] += self.cuda_macros()
        super().build_extension(extension)

    def cuda_macros(self) -> list[str]:
        """For `build_info()`: which CUDA kernels were built, or why none were."""
        if self.without_cuda:
            return [f'-DGANKIT_WITHOUT_CUDA="{re.sub(r"[^A-Za-z0-9 .,:;()=+/_-]", " ", self.without_cuda)}"']
        archs = os.environ["TORCH_CUDA_ARCH_LIST"]
        return [f'-DGANKIT_CUDA_VERSION="{torch.version.cuda}"', f'-DGANKIT_CUDA_ARCHS="{archs}"']

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

    def discard(self, name: str) -> None:
        """No library of an earlier build may stand in for one that is not built: its ops could be other ones."""
        library = Path(self.get_ext_filename(name))  # gankit/_C...so
        for path in (library, Path(self.build_lib, library)):
            path.unlink(missing_ok=True)


def extensions() -> list[Extension]:
    """CUDA first: `build_info()` in the other tells whether it came off."""
    try:
        return [cuda_extension(), cpu_extension()]
    except CannotBuild as error:
        BuildOptional.without_cuda = str(error)
        return [cpu_extension()]


if __name__ == "__main__":
    setup(version=version(), ext_modules=extensions(), cmdclass={"build_ext": BuildOptional})
