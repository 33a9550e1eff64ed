"""What becomes of errors that are not gankit's own."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from gankit.cli.explain import explain
from gankit.options.spelling import closest

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "there is not enough memory\n"),
        (np.exceptions.AxisError(1, 1), None),
        (RuntimeError(f"{CPU}4000000000000 bytes. Error code 12"), "memory: 3725 GiB were asked for at once\n"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"), "on the GPU: 2 GiB were"),
        (RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904]"), "not enough memory\n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "there is not enough memory\n"),
        (ValueError("out of memory bounds"), None),
    ],
)
def test_what_helps_where_memory_ends(error, words):
    code, text = explain(error, ["run", "toy", "--batch-size", "1000000000"])
    assert code == 1
    if words is None:
        assert "memory\n" not in text
        return
    assert words in text
    assert "--batch-size" in text
    assert "--accumulate" in text
    assert "Error" not in text
    assert "alloc" not in text
    assert "--n" in explain(error, ["sample", "r"])[1]
    assert len(explain(error, [])[1].splitlines()) == 2


def test_a_real_allocation_that_cannot_be(gankit, toy):
    huge = 2**50
    with pytest.raises(RuntimeError) as raised:
        torch.empty(huge)
    assert "there is not enough memory" in explain(raised.value)[1]
    with pytest.raises(MemoryError) as raised:
        np.empty(huge)
    assert "there is not enough memory" in explain(raised.value)[1]


def test_errors_without_a_text():
    assert explain(ArithmeticError())[1].splitlines()[0] == "error: ArithmeticError"
    assert explain(OSError(2, "No such file or directory", "x"))[1] == "error: No such file or directory: x"


def test_names_that_the_locale_cannot_write():
    with pytest.raises(UnicodeEncodeError) as raised:
        "caf\xe9".encode("ascii")
    assert "LC_ALL=C.UTF-8" in explain(raised.value)[1]
    with pytest.raises(UnicodeEncodeError) as raised:
        "a\udcff".encode()
    assert "rename it" in explain(raised.value)[1]


def test_the_last_part_of_a_name_is_a_name():
    names = ("steps", "seed", "optim.lr", "optim.betas", "data.size", "g_optim.lr")
    assert closest("lr", names) == ["optim.lr", "g_optim.lr"]
    assert closest("size", names) == ["data.size"]
    assert closest("beta", names) == ["optim.betas"]
    assert closest("stps", names) == ["steps"]
    assert closest("optim.lrr", names) == ["optim.lr"]
    assert closest("zzz", names) == []
