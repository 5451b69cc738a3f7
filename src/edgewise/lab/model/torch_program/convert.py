"""ExportedProgram → ONNX by torch's exporter, with names a caller can use and nothing of the maker's machine in it.

Inputs are called as `forward` calls them; outputs by the keys of the dict that it returns, else `output` or
`output_0`, `output_1`, …; open sizes by the names the user gave, else `batch` for a first axis and `ids_1` for
others. Source: https://docs.pytorch.org/docs/stable/onnx_export.html
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from torch.export.graph_signature import InputKind, TensorArgument

from edgewise.errors import InputError, ToolchainError
from edgewise.lab.model.torch_program.tracing import Traced
from edgewise.targets.graph import bodies

__all__ = ["OPSET", "convert", "input_names", "output_names"]

OPSET = 20
_WIDE = (torch.bfloat16, torch.complex64, torch.complex128)


def convert(traced: Traced, who: str, names: Sequence[str] | None = None) -> onnx.ModelProto:
    """Return the ONNX model of a program. `names` are those of its outputs, in order.

    Raises InputError for a program that is not tensors in, tensors out; ToolchainError with torch's reason
    when an operator cannot be converted.
    """
    program = traced.program
    _check(program, who)
    inputs, outputs = input_names(program), _named(program, names, who)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            made = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET)
        proto: onnx.ModelProto = made.model_proto
        changed = (
            made.exported_program.graph_signature
        )  # only after functionalisation it names what is written to
    except Exception as error:
        said = " ".join(str(error.__cause__ or error).split())[:300]
        raise ToolchainError(f"{who}: torch's ONNX exporter refused the program: {said}") from error
    finally:
        logging.disable(logging.NOTSET)
    _check_stateless(changed, who)
    _rename(proto, dict(zip((value.name for value in proto.graph.input), inputs, strict=True)))
    _rename(proto, dict(zip((value.name for value in proto.graph.output), outputs, strict=True)))
    _name_sizes(proto, traced.axes)
    _forget(proto)
    return proto


def input_names(program: torch.export.ExportedProgram) -> list[str]:
    """Return what `forward` calls its inputs; a nested one as torch names its parts."""
    found = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    signature = program.module_call_graph[0].signature
    forward = list(getattr(signature, "forward_arg_names", None) or ())
    return forward if len(forward) == len(found) else found


def output_names(program: torch.export.ExportedProgram) -> list[str]:
    """Return the keys of the dict that `forward` returns, or numbered names."""
    spec = program.call_spec.out_spec
    count = len(program.graph_signature.user_outputs)
    if spec is not None and spec.type in (dict,) and len(spec.context) == count:
        taken = set(input_names(program))
        return [f"{key}_output" if key in taken else str(key) for key in spec.context]
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _named(program: torch.export.ExportedProgram, names: Sequence[str] | None, who: str) -> list[str]:
    own = output_names(program)
    if names is None:
        return own
    if (
        isinstance(names, str)
        or len(names) != len(own)
        or len({*names, *input_names(program)}) != len(own) + len(input_names(program))
    ):
        raise InputError(
            f"{who}: names {list(names)} do not fit: give {len(own)} different ones that no input has"
        )
    return list(names)


def _check(program: torch.export.ExportedProgram, who: str) -> None:
    for one in program.graph_signature.input_specs:
        if one.kind is InputKind.USER_INPUT and not isinstance(one.arg, TensorArgument):
            raise InputError(
                f"{who}: input {one.arg.name!r} is no tensor: make it part of the model, or a tensor"
            )
    for given in program.graph_signature.output_specs:
        if not isinstance(given.arg, TensorArgument):
            raise InputError(f"{who}: the model returns something beside tensors: return tensors only")
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and getattr(value, "dtype", None) in _WIDE:
            raise InputError(f"{who}: {node.name!r} holds {value.dtype}: export the model as model.float()")


def _check_stateless(signature: Any, who: str) -> None:
    if changed := [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]:
        raise InputError(
            f"{who}: the model changes its {changed[0]!r} while it runs, and a bundle keeps no state between "
            "requests: return it as an output and take it as an input"
        )


def _rename(proto: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename values in place; another value that has a new name already gives way."""
    present = {value for node in _nodes(proto.graph) for value in (*node.input, *node.output)}
    given = {old: new for old, new in names.items() if old != new}
    for new in list(given.values()):
        if new in present and new not in given:
            given[new] = f"{new}_inner"
    _apply(proto.graph, given)


def _apply(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for body in bodies(node):
            _apply(body, names)


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = list(graph.node)
    for node in graph.node:
        for body in bodies(node):
            found += _nodes(body)
    return found


def _name_sizes(proto: onnx.ModelProto, axes: Mapping[str, Mapping[int, str]]) -> None:
    """Give each open size one name: torch's are numbers that say nothing."""
    names: dict[str, str] = {}
    for given in (axes, None):
        for value in proto.graph.input:
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                own = (
                    _plain(value.name, axis, names) if given is None else given.get(value.name, {}).get(axis)
                )
                if own and dim.dim_param.isidentifier():
                    names.setdefault(dim.dim_param, own)
    pattern = re.compile(r"[A-Za-z_]\w*")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = pattern.sub(lambda m: names.get(m[0], m[0]), dim.dim_param)


def _plain(name: str, axis: int, names: Mapping[str, str]) -> str:
    return "batch" if axis == 0 and "batch" not in names.values() else f"{name}_{axis}"


def _forget(proto: onnx.ModelProto) -> None:
    """Take out what the exporter notes of the maker's machine and files: traces, class names, versions."""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    holders: list[Any] = [*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.functions]
    for one in (*holders, *proto.graph.initializer, *_nodes(proto.graph)):
        del one.metadata_props[:]
        if one.HasField("doc_string"):
            one.ClearField("doc_string")
