"""What a traced program computes of its weights alone, computed once; and what it then has no use for, left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

__all__ = ["fold"]

_HELD = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
VIEWS = frozenset({"view", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "expand", "alias", "t"})
"""Operators that cost nothing: what is made by these alone stays as it is."""


def fold(program: ExportedProgram) -> None:
    """Changes `program` in place: what depends on no input becomes a constant, and weights that nothing reads go.

    So does what says where it was traced: paths of this machine.
    """
    known = _known(program)
    nodes = program.graph.nodes
    for node in [node for node in nodes if node in known and node.op == "call_function"]:
        if isinstance(known[node], Tensor) and any(user not in known for user in node.users) and _worth(node):
            _hold(program, node, known[node])
    for node in reversed([node for node in nodes if node in known and node.op == "call_function"]):
        if not node.users:  # checks of what is known by now, too, which torch would keep
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    _drop_unused(program)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    program.graph_module.recompile()


def _known(program: ExportedProgram) -> dict[Node, Any]:
    """The nodes that depend on no input, and their values."""
    known: dict[Node, Any] = {}
    held = {**dict(program.state_dict), **program.constants}
    targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if spec.kind in _HELD}
    for node in program.graph.nodes:
        if node.op == "placeholder" and targets.get(node.name) in held:
            value = held[targets[node.name]]
            if isinstance(value, Tensor):
                known[node] = value.detach()
        elif node.op == "call_function" and set(node.all_input_nodes) <= known.keys():
            if getattr(node.target, "namespace", "") == "higher_order":
                continue
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
            with torch.no_grad():
                known[node] = node.target(*args, **kwargs)
    return known


def _worth(node: Node) -> bool:
    """Whether something is computed on the way to `node`."""
    name = str(getattr(node.target, "_opname", node.target))
    before = [other for other in node.all_input_nodes if other.op == "call_function"]
    return name not in VIEWS or any(map(_worth, before))


def _hold(program: ExportedProgram, node: Node, value: Tensor) -> None:
    """Puts the constant `value` in the place of `node`."""
    target = f"folded_{len(program.constants)}"
    specs = program.graph_signature.input_specs
    places = [node for node in program.graph.nodes if node.op == "placeholder"]
    at = next((i for i, spec in enumerate(specs) if spec.kind == InputKind.USER_INPUT), len(specs))
    with program.graph.inserting_before(places[at] if at < len(places) else node):
        held = program.graph.placeholder(target)
    held.meta = {"val": node.meta["val"]}
    specs.insert(at, InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(held.name), target, None))
    program.constants[target] = value.contiguous()
    node.replace_all_uses_with(held)


def _drop_unused(program: ExportedProgram) -> None:
    specs = program.graph_signature.input_specs
    unused = {node.name: node for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    for spec in [spec for spec in specs if spec.kind in _HELD and spec.arg.name in unused]:
        program.graph.erase_node(unused[spec.arg.name])
        specs.remove(spec)
        if spec.kind == InputKind.CONSTANT_TENSOR:
            program.constants.pop(spec.target, None)
        elif spec.target not in {other.target for other in specs}:
            program.state_dict.pop(spec.target, None)
            program.constants.pop(spec.target, None)
