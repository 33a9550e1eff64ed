"""What is said of the native library for each device, and what a torch without its private names costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gankit
from gankit.ops import native_available, native_info, native_status

PRIVATE = [
    "torch._C._are_functorch_transforms_active",
    "torch._C._functorch.is_legacy_batchedtensor",
    "torch.autograd.forward_ad._current_level",
    "torch._foreach_lerp_",
    "torch._foreach_norm",
]


def run(code: str, **environment: str) -> str:
    """The output of a program of its own: the library is looked for once in a process."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not native_available(), reason="the native library is not built")
def test_status_of_each_device() -> None:
    assert native_available("cpu")
    assert native_status("cpu") == f"CPU: kernels ({native_info()['cpu_capability']})"
    assert native_status().startswith(native_status("cpu"))
    assert native_status().endswith(native_status("cuda:1"))
    assert not native_available("meta")
    assert native_status("meta") == "META: reference formulas (there are no kernels for this device)"


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("", "not built"),
        ("raise ImportError('libcudart.so.12: cannot open shared object file\\n')", "do not load: libcudart.so.12:"),
    ],
)
@pytest.mark.skipif(not native_available(), reason="the native library is not built")
def test_a_torch_with_cuda_and_no_cuda_kernels_says_so(library: str, reason: str) -> None:
    code = f"""
import importlib.abc, importlib.machinery, sys, torch
torch.version.cuda = "12.8"

class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name == "gankit._C_cuda":
            if not {library!r}:
                raise ModuleNotFoundError(name)
            return importlib.machinery.ModuleSpec(name, self)
    def exec_module(self, module):
        exec({library!r})

sys.meta_path.insert(0, Finder())
from gankit.ops import native_available, native_status
assert native_available() and native_available("cpu") and not native_available("cuda:0")
print(native_status("cuda"))
assert native_status().endswith(native_status("cuda")), native_status()
assert native_status().startswith("CPU: kernels"), native_status()
"""
    said = run(code)
    assert said.startswith("CUDA: reference formulas (kernels ")
    assert reason in said


def test_switched_off() -> None:
    code = """
from gankit.ops import native_available, native_info, native_status
assert not native_available() and not native_available("cuda") and native_info() == {}
print(native_status(), native_status("cpu"), sep="\\n")
"""
    both, cpu = run(code, GANKIT_NATIVE="0").splitlines()
    assert both == "CPU and CUDA: reference formulas (kernels switched off by GANKIT_NATIVE=0)"
    assert cpu == both.replace("CPU and CUDA", "CPU")


@pytest.mark.parametrize("name", PRIVATE)
def test_ops_do_without_a_private_name_of_torch(name: str) -> None:
    owner, _, attribute = name.rpartition(".")
    code = f"""
import torch
from torch.autograd import forward_ad
kept = {name}
del {name}
import gankit.ops._torch as names
from gankit.ops import instance_norm_act, leaky_relu, patchgan_d_loss
from gankit.ops.leaky_relu import leaky_relu_reference
assert names.MISSING == [{name!r}]
setattr({owner}, {attribute!r}, kept)  # torch's own modules ask for it; theirs would know its new name

torch.manual_seed(0)
x, bias = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, dtype=torch.float64)
y = instance_norm_act(leaky_relu(x, bias), negative_slope=0.2)
loss = patchgan_d_loss(y, y.detach())
(gradient,) = torch.autograd.grad(loss, x, create_graph=True)
(second,) = torch.autograd.grad(gradient.square().sum(), x, retain_graph=True)
assert second.isfinite().all() and second.abs().sum() > 0
seeds = torch.randn(2, *x.shape, dtype=x.dtype)
several = torch.autograd.grad(gradient, x, seeds, is_grads_batched=True, retain_graph=True)[0]
for seed, one in zip(seeds, several):
    torch.testing.assert_close(one, torch.autograd.grad(gradient, x, seed, retain_graph=True)[0])

def value(op):
    return lambda x: op(x, bias).pow(3).sum()

x = x.detach()
for way in (
    lambda f: torch.func.grad(f)(x),
    lambda f: torch.vmap(torch.func.grad(f))(x.expand(2, *x.shape)),
    lambda f: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
):
    torch.testing.assert_close(way(value(leaky_relu)), way(value(leaky_relu_reference)))
with forward_ad.dual_level():
    dual = forward_ad.make_dual(x, torch.ones_like(x))
    assert forward_ad.unpack_dual(leaky_relu(dual, bias)).tangent is not None

moved, ends = [torch.zeros(3), torch.zeros(2)], [torch.ones(3), torch.ones(2)]
names.lerp_all_(moved, ends, 0.25)
assert all((t == 0.25).all() for t in moved)
assert [float(n) for n in names.norms([torch.tensor([3.0, 4.0]), torch.zeros(1)])] == [5.0, 0.0]
"""
    run(code)


def test_every_private_name_of_torch_can_be_missing_at_import() -> None:
    deleted = "\n".join(f"del {name}" for name in PRIVATE)
    code = f"import torch\n{deleted}\nimport gankit.ops, gankit.api\nprint(*gankit.ops._torch.MISSING)"
    assert sorted(run(code).split()) == sorted(PRIVATE)


def test_private_names_of_torch_are_used_in_one_file() -> None:
    used = re.compile(r"\b(torch(?:\.\w+)*|forward_ad)\._[a-z]\w+")
    sources = [p for p in Path(gankit.__file__).parent.rglob("*.py") if p.name != "_torch.py"]
    assert sources
    found = {path.name: [m[0] for m in used.finditer(path.read_text())] for path in sources}
    # within a function whose failure is caught: it costs the estimate of a dry run
    assert {name: names for name, names in found.items() if names} == {"plan.py": ["torch._subclasses"]}
