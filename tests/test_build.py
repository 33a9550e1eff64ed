"""setup.py against compilers that are missing, broken or fail, and what a source distribution holds.

Small scripts stand in for the compilers, so that nothing is compiled, and a CPU build of torch passes for one
with CUDA.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from by_path import load

import gankit

ROOT = Path(__file__).parent.parent
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the compilers are shell scripts")

# Notes how it was called; makes the file after -o, or fails where its arguments match FAILING.
COMPILER = """#!/bin/sh
case "$*" in *-dumpversion*|*-dumpfullversion*) echo 13.0.0; exit 0;; esac
echo "$*" >> "{log}"
case "$*" in {failing}) echo "internal compiler error" >&2; exit 1;; esac
while [ $# -gt 0 ]; do [ "$1" = -o ] && : > "$2"; shift; done
"""
NVCC = """#!/bin/sh
case "$*" in
  *--version*) echo "Cuda compilation tools, release 13.0, V13.0.88"; exit 0;;
  *--list-gpu-arch*) printf 'compute_80\\ncompute_90\\n'; exit 0;;
  *-dryrun*) exit 0;;
esac
"""
BROKEN = "#!/bin/sh\necho 'the license has expired' >&2\nexit 1\n"
NOTHING = "no-such-argument"


@dataclass
class Build:
    """A copy of the tree, and what setup.py is run with."""

    root: Path
    cuda: str | None = "13.0"
    """What torch.version.cuda is made to be."""

    def compilers(self, *, gcc: str | None = NOTHING, nvcc: str | None = NOTHING) -> Build:
        """Puts compilers in place that fail where their arguments match a pattern; None: there is none."""
        for name, failing, start in (("toolkit/bin/nvcc", nvcc, NVCC), ("bin/g++", gcc, "")):
            if failing is not None:
                rest = COMPILER.format(log=self.root / f"{Path(name).name}.log", failing=failing)
                self.script(name, start + rest.removeprefix("#!/bin/sh\n") if start else rest)
        (self.root / "toolkit/bin").mkdir(parents=True, exist_ok=True)
        return self

    def script(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """`setup.py build_ext --inplace`."""
        code = f"""
import runpy, sys, torch, torch.utils.cpp_extension
torch.version.cuda = {self.cuda!r}
torch.utils.cpp_extension.CUDA_HOME = {str(self.root / "toolkit")!r}
sys.argv = ["setup.py", "build_ext", "--inplace"]
runpy.run_path("setup.py", run_name="__main__")
"""
        compiler = str(self.root / "bin/g++")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GANKIT_", "CUDA_", "TORCH_CUDA"))}
        kept |= {
            "CC": compiler,
            "CXX": compiler,
            "LDSHARED": f"{compiler} -shared",
            "LDCXXSHARED": f"{compiler} -shared",
        }
        kept |= {"MAX_JOBS": "2"} | environment
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.root, env=kept, timeout=300)

    @property
    def libraries(self) -> set[str]:
        return {path.name.removesuffix(SUFFIX) for path in (self.root / "gankit").glob("*.so")}

    def calls(self, compiler: str) -> str:
        log = self.root / f"{compiler}.log"
        return log.read_text() if log.exists() else ""


def copy_sources(to: Path) -> None:
    """What `git clone` would bring, as far as builds read it."""
    for folder in ("csrc", "tests/csrc"):
        shutil.copytree(ROOT / folder, to / folder)
    shutil.copytree(ROOT / "gankit", to / "gankit", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix != ".so" and not path.name.startswith("."):
            shutil.copy(path, to)


def load_setup() -> ModuleType:
    return load(ROOT / "setup.py")


@pytest.fixture
def build(tmp_path: Path) -> Build:
    copy_sources(tmp_path)
    for name in ("_C", "_C_cuda"):
        (tmp_path / "gankit" / f"{name}{SUFFIX}").write_text("of an earlier build")
    return Build(tmp_path)


def test_both_libraries_where_both_compilers_work(build: Build) -> None:
    done = build.compilers().run()
    assert done.returncode == 0, done.stderr
    assert build.libraries == {"_C", "_C_cuda"}
    assert "***" not in done.stderr
    assert 'GANKIT_CUDA_ARCHS="8.0;9.0+PTX"' in build.calls("g++")
    assert "compute_90" in build.calls("nvcc")
    assert not any("of an earlier build" in p.read_text() for p in build.root.glob("gankit/*.so"))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (BROKEN, "--version failed with exit status 1: the license has expired"),
        ("\x7fELF", "does not run"),
        (NVCC.replace("compute", "tile"), "compiles for none of the architectures 8.0"),
        (NVCC.replace("*) printf", "*) false ; exit $? ; printf"), "--list-gpu-arch failed with exit status 1"),
        (None, "there is no"),
    ],
    ids=["fails", "no program", "no architecture", "fails later", "missing"],
)
def test_an_nvcc_that_cannot_be_asked_costs_its_extension(
    script: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        Build(tmp_path).script("bin/nvcc", script)
    for name in ("GANKIT_CUDA", "CUDA_HOME", "CUDA_PATH", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.utils.cpp_extension.CUDA_HOME", str(tmp_path))
    setup = load_setup()
    assert [extension.name for extension in setup.extensions()] == ["gankit._C"]
    assert reason in setup.BuildOptional.without_cuda


@pytest.mark.parametrize("failing", ["everywhere", "*leaky_relu.cu*"])
def test_an_nvcc_that_fails_leaves_the_cpu_kernels(failing: str, build: Build) -> None:
    build.compilers(nvcc=failing)
    if failing == "everywhere":
        build.script("toolkit/bin/nvcc", BROKEN)
    done = build.run()
    assert done.returncode == 0, done.stderr
    assert build.libraries == {"_C"}
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("*** gankit: ")]
    reason = "the license has expired" if failing == "everywhere" else "gankit._C_cuda cannot be built"
    assert "no CUDA kernels: " in warning
    assert reason in warning
    assert "-DGANKIT_WITHOUT_CUDA=" in build.calls("g++")
    assert "-DGANKIT_CUDA_ARCHS=" not in build.calls("g++")

    insisted = build.run(GANKIT_CUDA="1")
    assert insisted.returncode != 0
    assert "GANKIT_CUDA=1 asks for CUDA kernels, but" in insisted.stderr
    assert reason in insisted.stderr
    assert "Traceback" not in insisted.stderr


@pytest.mark.parametrize(
    "failing", [None, "*csrc/cpu/leaky_relu*", "*-shared*"], ids=["missing", "a kernel", "linking"]
)
def test_a_cpp_compiler_that_fails_leaves_the_formulas(failing: str | None, build: Build) -> None:
    build.cuda = None
    done = build.compilers(gcc=failing, nvcc=None).run()
    assert done.returncode == 0, done.stderr
    assert build.libraries == set()
    assert done.stderr.count("*** gankit: ") == 1
    assert "*** gankit: no CPU kernels: gankit._C cannot be built" in done.stderr


def test_cuda_kernels_are_of_no_use_without_the_cpu_library(build: Build) -> None:
    done = build.compilers(gcc="*csrc/cpu/*").run()
    assert done.returncode == 0, done.stderr
    assert build.libraries == set()
    assert build.run(GANKIT_CUDA="1").returncode != 0


@pytest.mark.parametrize(("wish", "cuda"), [("0", "13.0"), ("", None)], ids=["switched off", "torch without CUDA"])
def test_nothing_is_said_where_nobody_misses_cuda(wish: str, cuda: str | None, build: Build) -> None:
    build.cuda = cuda
    done = build.compilers(nvcc="*").run(GANKIT_CUDA=wish)
    assert done.returncode == 0, done.stderr
    assert build.libraries == {"_C"}
    assert "***" not in done.stderr
    assert build.calls("nvcc") == ""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            RuntimeError("\nCUDA %s is not\nthat of torch, %s.\n", "11.8", "13.0"),
            "CUDA 11.8 is not that of torch, 13.0",
        ),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_reasons_are_one_line(error: Exception, text: str) -> None:
    assert load_setup().clause(error) == text


def test_a_wish_that_is_none(build: Build) -> None:
    done = build.compilers().run(GANKIT_CUDA="yes")
    assert done.returncode != 0
    assert "GANKIT_CUDA must be 0 or 1, got 'yes'" in done.stderr


def test_a_wheel_for_others_holds_what_its_name_says_or_is_none(build: Build) -> None:
    build.compilers(gcc="*csrc/cpu/*", nvcc="*leaky_relu.cu*")
    for kind, library in (("cpu", "_C"), ("cuda", "_C_cuda")):
        failed = build.run(GANKIT_WHEEL=kind)
        assert failed.returncode != 0
        assert f"no {kind} wheel: gankit.{library} cannot be built" in failed.stderr
    build.compilers()
    assert build.run(GANKIT_WHEEL="cpu", GANKIT_CUDA="1").returncode == 0
    assert build.libraries == {"_C"}
    assert "this is the CPU wheel" in build.calls("g++")
    assert build.run(GANKIT_WHEEL="cuda").returncode == 0
    assert build.libraries == {"_C", "_C_cuda"}
    assert 'GANKIT_CUDA_ARCHS="8.0;9.0+PTX"' in build.calls("g++")  # whatever GPU is here
    build.cuda = None
    assert "torch 2" in build.run(GANKIT_WHEEL="cuda").stderr
    assert "GANKIT_WHEEL must be cpu or cuda, got 'gpu'" in build.run(GANKIT_WHEEL="gpu").stderr


@pytest.mark.parametrize(("kind", "label"), [("", ""), ("cpu", ""), ("cuda", "+cu130")])
def test_the_cuda_wheel_is_named_by_its_cuda(kind: str, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANKIT_WHEEL", kind)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.chdir(ROOT)
    assert load_setup().version() == gankit.__version__ + label


def test_the_source_distribution_builds(tmp_path: Path) -> None:
    copied = tmp_path / "tree"
    copied.mkdir()
    copy_sources(copied)
    code = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=copied, timeout=300)
    assert made.returncode == 0, made.stderr
    (archive,) = (copied / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()

    def files(root: Path, *patterns: str) -> set[str]:
        return {str(p.relative_to(root)) for pattern in patterns for p in root.glob(pattern) if p.is_file()}

    wanted = ("csrc/**/*", "gankit/**/*.py", "tests/csrc/*", "gankit/py.typed", "*.toml", "setup.py", "CMake*")
    wanted += ("LICENSE", "README.md", "MANIFEST.in")
    assert files(unpacked, *wanted) == files(ROOT, *wanted)
    assert len(files(unpacked, "csrc/cpu/*.cpp")) > 2

    build = Build(unpacked).compilers()
    done = build.run()
    assert done.returncode == 0, done.stderr
    assert build.libraries == {"_C", "_C_cuda"}
    for source in files(ROOT, "csrc/**/*.cpp", "csrc/**/*.cu"):
        assert source in build.calls("g++") + build.calls("nvcc"), source
