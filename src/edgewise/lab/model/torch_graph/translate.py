"""ONNX nodes to a torch.fx graph, one after the other, each tried at once on tensors that have shapes but no data.

Trying tells ranks and types, and which sizes are known: torch's fake tensors carry sizes that may change as symbols,
so a size that comes out as a plain number is a constant, and so is all that follows from it. That is how an `If` on
a shape is decided and how much shape arithmetic goes away. Nodes whose inputs are all constants are computed.
Source: https://docs.pytorch.org/docs/stable/fx.html
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, fx

from edgewise.errors import EdgewiseError, InputError, ToolchainError
from edgewise.lab.model.runtime import reason
from edgewise.lab.model.torch_graph import ops  # noqa: F401  # registers the operators
from edgewise.lab.model.torch_graph.host import as_tensor, plain, sizes
from edgewise.lab.model.torch_graph.ops.arithmetic import DTYPES
from edgewise.lab.model.torch_graph.proto import joined
from edgewise.lab.model.torch_graph.registry import OPERATORS, RULES, Operator
from edgewise.lab.model.torch_graph.site import Computed, Seen, Value
from edgewise.lab.model.torch_graph.tree import Constant, Tree
from edgewise.lab.model.torch_graph.trial import Trial

__all__ = ["translate"]

_OURS = ("", "ai.onnx")


_AS_TENSOR = Operator(as_tensor, keywords=frozenset({"anchor"}))
_Operand = tuple[Any, Any]
"""What the fx graph is given, and what the trial is."""


def translate(proto: onnx.ModelProto, feed: Mapping[str, NDArray[Any]], *, symbolic: bool) -> fx.GraphModule:
    """Return `proto` (see `proto.prepared`) as a module in eval mode; `feed` is one request, for its sizes.

    `symbolic`: sizes that the model leaves open are symbols; else they are those of the feed, and nothing is
    concluded from them. Raises InputError for what the importer lacks, ToolchainError where torch fails.
    """
    with torch.no_grad():
        return _Translation(proto, feed, Trial(symbolic=symbolic)).result()


class _Translation:
    def __init__(self, proto: onnx.ModelProto, feed: Mapping[str, NDArray[Any]], trial: Trial) -> None:
        self.proto, self.trial = proto, trial
        self.opset = max((e.version for e in proto.opset_import if e.domain in _OURS), default=0)
        self.graph, self.tree = fx.Graph(), Tree()
        self.values: dict[str, Value] = {}
        self.anchor: Computed | None = None
        for value in proto.graph.input:
            node = self.graph.placeholder(_identifier(value.name))
            self.values[value.name] = made = Computed(node, trial.example(value, feed[value.name]))
            self.anchor = self.anchor or made

    def result(self) -> fx.GraphModule:
        self._nodes(self.proto.graph)
        if decided := self.trial.decided():
            raise ToolchainError(f"torch takes a size of input {decided!r} for one that never changes")
        outputs = [self._output(value) for value in self.proto.graph.output]
        self.graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        module = fx.GraphModule(self.tree.root, self.graph, "ImportedOnnx").eval()
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        return module

    def _nodes(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self.values[tensor.name] = _constant(tensor)
        for node in joined(graph):
            self._guarded(node)

    def _guarded(self, node: onnx.NodeProto) -> None:
        """Translate one node; what goes wrong is told with its name."""
        try:
            self._node(node)
        except EdgewiseError:
            raise
        except NotImplementedError as error:
            raise InputError(
                f"the importer lacks this form of {_described(node)}: {reason(error)}"
            ) from error
        except Exception as error:
            raise ToolchainError(f"torch does not compute {_described(node)}: {reason(error)}") from error

    def _node(self, node: onnx.NodeProto) -> None:
        if node.op_type == "If" and node.domain in _OURS:
            self._branch(node)
            return
        known = node.op_type in OPERATORS or node.op_type in RULES
        if node.domain not in _OURS or not known:
            raise InputError(f"the importer lacks the operator {_described(node)}")
        site = Seen(self.value, node, self.opset, self.tree)
        if not site.all_constant and (rule := RULES.get(node.op_type)):
            found = rule(site)
            if found:
                self._module(node, site, found)
                return
        if node.op_type not in OPERATORS:
            raise NotImplementedError("no module of torch has these weights and attributes")
        self._function(node, site, OPERATORS[node.op_type])

    def _branch(self, node: onnx.NodeProto) -> None:
        condition = self.value(node.input[0])
        if not isinstance(condition, Constant):
            raise InputError(
                f"{_described(node)} depends on the data or on a size that may change, which a traced module can't. "
                "If an input decides it, fix its value, to_torch(…, fixed={'name': value}), or its sizes, "
                "to_torch(…, shapes={'name': (None, 576)})."
            )
        wanted = "then_branch" if bool(condition.tensor) else "else_branch"
        body = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
        self._nodes(body)
        for name, value in zip(node.output, body.output, strict=True):
            self.values[name] = self.values[value.name]

    def _module(self, node: onnx.NodeProto, site: Seen, found: Any) -> None:
        module = found.module.eval()
        named = node.input[found.named] if 0 <= found.named < len(node.input) else node.name or node.output[0]
        path = self.tree.add(named, module)
        operands = [self._tensor(node.input[index]) for index in found.operands]
        made = self.graph.create_node(
            "call_module", path, tuple(arg for arg, _ in operands), name=_identifier(node.output[0])
        )
        seen = self.trial.run(found.outline or module, [seen for _, seen in operands], {})
        self._bind(node, made, seen, many=found.many)

    def _function(self, node: onnx.NodeProto, site: Seen, op: Operator) -> None:
        keywords = self._keywords(node, site, op)
        literals = [name for name in op.positions if name in site.attributes]
        operands = [
            (None, None) if not name else self._operand(op, index, name)
            for index, name in enumerate(node.input)
        ]
        for name in literals:  # an attribute that later became an input
            place = op.positions.index(name)
            operands += [(None, None)] * (place + 1 - len(operands))
            value = site.attributes[name]
            operands[place] = (tuple(value),) * 2 if isinstance(value, list) else (value, value)
        if site.all_constant:
            self._fold(node, op, operands, keywords)
            return
        given, tried = self._anchored(op, keywords)
        seen = self.trial.run(op.call, [seen for _, seen in operands], tried)
        if self.trial.symbolic and plain(seen) and not op.many:
            self.values[node.output[0]] = Constant(node.output[0], as_tensor(seen), learned=False)
            return
        made = self._emit(op.call, tuple(arg for arg, _ in operands), given, _identifier(node.output[0]))
        self._bind(node, made, seen, many=op.many)

    def _keywords(self, node: onnx.NodeProto, site: Seen, op: Operator) -> dict[str, Any]:
        keywords = {name: value for name, value in site.attributes.items() if name in op.keywords}
        unknown = site.attributes.keys() - op.keywords - set(op.positions)
        if unknown := {name for name in unknown if not name.endswith("_dtype")}:
            raise NotImplementedError(f"its attribute {', '.join(sorted(unknown))} is not understood")
        if "opset" in op.keywords:
            keywords["opset"] = self.opset
        if "outputs" in op.keywords:
            keywords["outputs"] = len(node.output)
        return keywords

    def _anchored(self, op: Operator, keywords: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the keywords for the fx graph and for the trial, the first input among them if `op` wants it."""
        if "anchor" not in op.keywords or self.anchor is None:
            return keywords, keywords
        return {**keywords, "anchor": self.anchor.node}, {**keywords, "anchor": self.anchor.seen}

    def _fold(self, node: onnx.NodeProto, op: Operator, operands: Sequence[_Operand], keywords: Any) -> None:
        made = op.call(*(seen for _, seen in operands), **keywords)
        sources = [self.values[name] for name in node.input if name]
        learned = next((value for value in sources if isinstance(value, Constant) and value.learned), None)
        for name, value in zip(node.output, made if op.many else (made,), strict=False):
            tensor = as_tensor(value)
            trained = learned is not None and tensor.is_floating_point() and tensor.numel() > 1
            self.values[name] = Constant(learned.name if learned and trained else name, tensor, trained)

    def _operand(self, op: Operator, index: int, name: str) -> _Operand:
        value = self.value(name)
        host = index < len(op.positions) and op.positions[index] in op.host
        if isinstance(value, Constant) and (host or (op.mixed and value.small)):
            return value.numbers, value.numbers
        if isinstance(value, Computed) and (host or op.mixed):
            if host and isinstance(value.seen, Tensor):
                return self._emit(sizes, (value.node,), {}), self.trial.run(sizes, [value.seen], {})
            return value.node, value.seen
        return self._tensor(name)

    def _tensor(self, name: str) -> _Operand:
        """Return the value `name` as a tensor."""
        value = self.value(name)
        if isinstance(value, Constant):
            path = self.tree.tensor(value)
            return self.graph.create_node("get_attr", path), value.tensor
        if isinstance(value.seen, Tensor):
            return value.node, value.seen
        given, tried = self._anchored(_AS_TENSOR, {})
        return self._emit(as_tensor, (value.node,), given), self.trial.run(as_tensor, [value.seen], tried)

    def value(self, name: str) -> Value:
        """Return what is known of the tensor `name`."""
        if name not in self.values:
            raise NotImplementedError(
                f"its input {name!r} is an optional output that the importer does not compute"
            )
        return self.values[name]

    def _emit(
        self, function: Callable[..., Any], args: Any, keywords: Any, name: str | None = None
    ) -> fx.Node:
        node = self.graph.create_node("call_function", function, args, keywords, name)
        # Who traces the module anew (torch.load, quantizers) is to keep our functions whole: they look at sizes.
        node.meta["is_wrapped"] = function.__module__.startswith(f"{__package__}.")
        return node

    def _bind(self, node: onnx.NodeProto, made: fx.Node, seen: Any, *, many: bool) -> None:
        if not many:
            self.values[node.output[0]] = Computed(made, seen)
            return
        for index, name in enumerate(node.output):
            if name:
                item = self._emit(python.getitem, (made, index), {}, _identifier(name))
                self.values[name] = Computed(item, seen[index])

    def _output(self, value: onnx.ValueInfoProto) -> fx.Node:
        if value.name not in self.values:
            raise InputError(f"the importer does not compute the output {value.name!r}")
        arg, seen = self._tensor(value.name)
        wanted = DTYPES.get(value.type.tensor_type.elem_type, seen.dtype)
        return arg if seen.dtype == wanted else self._emit(Tensor.to, (arg, wanted), {})


def _constant(tensor: onnx.TensorProto) -> Constant:
    array = numpy_helper.to_array(tensor)
    if tensor.data_type not in DTYPES:
        raise InputError(f"the importer lacks the type of the constant {tensor.name!r}: {array.dtype}")
    made = torch.from_numpy(np.array(array, order="C"))
    return Constant(tensor.name, made, learned=made.is_floating_point() and made.numel() > 1)


def _identifier(name: str) -> str:
    made = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return made if made[:1].isalpha() else f"v_{made}"


def _described(node: onnx.NodeProto) -> str:
    domain = "" if node.domain in _OURS else f"{node.domain}::"
    return f"{domain}{node.op_type} (node {node.name or node.output[0]!r})"
