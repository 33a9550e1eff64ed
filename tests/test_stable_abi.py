"""The native libraries use LibTorch's stable ABI alone, and their best kernels cannot leak into a caller's baseline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from libraries import STABLE, misfits, undefined, unexplained

import gankit
from gankit.ops import native_available, native_info

LIBRARIES = sorted(Path(gankit.__file__).parent.glob("_C*.so"))
pytestmark = [
    pytest.mark.skipif(not native_available(), reason="the native library is not built"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files"),
]
needs_nm = pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")


def symbols(library: Path, *options: str) -> list[str]:
    command = ["nm", "--demangle", *options, str(library)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@needs_nm
@pytest.mark.parametrize("library", LIBRARIES, ids=lambda path: path.name.split(".")[0])
def test_nothing_is_asked_of_torch_that_the_oldest_lacks(library: Path) -> None:
    assert not misfits(library)
    assert STABLE & set(undefined(library)) or library.name.startswith("_C_cuda")


def test_the_check_can_fail() -> None:
    wrong = ["_ZN2at6native3addERKNS_6TensorE", "aoti_torch_of_torch_3_0", "_ZSt28__throw_bad_array_new_lengthv"]
    assert (
        unexplained([*wrong, "aoti_torch_zero_", "PyList_New", "memcpy@GLIBC_2.14", "_ZSt9terminatev@GLIBCXX_3.4"])
        == wrong
    )


@needs_nm
def test_kernels_of_each_capability_define_nothing_that_the_linker_shares() -> None:
    """A weak function may be taken from the AVX-512 copy for everybody; kernels must have none of their own."""
    objects = Path(gankit.__file__).parent.parent / "build"
    compiled = [o for o in objects.glob("temp*/*/csrc/cpu/*.o") if o.parts[-4] in ("avx2", "avx512")]
    if not compiled:
        pytest.skip("built elsewhere: no object files beside the library")
    for path in compiled:
        weak = [line for line in symbols(path, "--defined-only") if " W " in line]  # V would be data
        shared = [line for line in weak if f"gankit::{path.parts[-4]}::" not in line]
        assert not shared, f"{path.name}: {shared[:3]}"


@pytest.mark.parametrize("capability", ["baseline", "avx2", "avx512"])
def test_every_capability_computes_the_same(capability: str) -> None:
    """In a process of its own: the choice is made once, when the first kernel runs."""
    if capability not in native_info()["cpu_capabilities"]:
        pytest.skip("not a capability of this architecture")
    code = """
import torch
from gankit.ops import leaky_relu, native_info, patchgan_d_loss
from gankit.ops.leaky_relu import leaky_relu_reference
from gankit.ops.patchgan_loss import patchgan_d_loss_reference
torch.manual_seed(0)
for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
    tolerance = 2 ** -7 if dtype.itemsize == 2 else 1e-5
    for shape in ((2, 3, 33, 35), (5, 19, 1, 1), (2, 40, 3, 3)):
        x, bias = torch.randn(shape).to(dtype), torch.randn(shape[1])
        torch.testing.assert_close(leaky_relu(x, bias), leaky_relu_reference(x, bias), rtol=tolerance, atol=1e-5)
        for kind in ("lsgan", "bce", "hinge"):
            ours, reference = patchgan_d_loss(x, -x, kind), patchgan_d_loss_reference(x, -x, kind)
            torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)
print(native_info()["cpu_capability"])
"""
    environment = os.environ | {"GANKIT_CPU_CAPABILITY": capability}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    order = ["baseline", "avx2", "avx512"]
    assert order.index(done.stdout.strip()) <= order.index(capability)


def test_switched_off_by_the_environment() -> None:
    code = """
import torch
from gankit.ops import instance_norm_act, leaky_relu, native_available, native_status, patchgan_d_loss
assert not native_available() and "GANKIT_NATIVE=0" in native_status(), native_status()
x = torch.randn(2, 3, 4, 4, requires_grad=True)
y = instance_norm_act(leaky_relu(x, torch.zeros(3)), negative_slope=0.2)
patchgan_d_loss(y, y.detach()).backward()
assert x.grad.isfinite().all()
"""
    environment = os.environ | {"GANKIT_NATIVE": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
