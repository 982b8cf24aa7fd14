"""Convolutions that add a residual and apply a ReLU in one call of oneDNN, for inference on a CPU.

A map is then written once: otherwise the sum and the activation read and write it again. The
weights are kept as oneDNN arranges them, which it would otherwise do in every call.
"""

from __future__ import annotations

import ctypes
import operator
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

M = TypeVar("M", bound=nn.Module)

_SUMS = (operator.add, operator.iadd, torch.add)
_RELUS = (F.relu, torch.relu)
# Modules of this package are traced; those of posebench may compute differently from call to call.
_TRACED = "timm."
_OPERATORS = ("_convolution_pointwise", "_reorder_convolution_weight", "_nbytes", "data_ptr")


def available() -> bool:
    """Return whether this build of PyTorch has the fused operators."""
    built = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return built and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)


def fused(model: M) -> M:
    """Let the convolutions of a folded network, which is changed, add residuals and apply ReLUs.

    The outputs are equal up to float rounding. A convolution is replaced in backbones, blocks and
    sequences of layers; elsewhere it stays.
    """
    if available():
        for name, part in list(_parts(model)):
            model.set_submodule(name, _fused_part(part))
    return model


class FusedConv(nn.Module):
    """A convolution, then perhaps the sum with a residual, then perhaps a ReLU.

    Off the CPU, in other precisions than float32, where gradients are recorded, and while the
    network is compiled, exported or counted, it calls PyTorch's usual operators.
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool) -> None:
        super().__init__()
        self.conv, self.relu = conv, relu
        # Shape of maps -> the weight as oneDNN arranges it for them; the first is that of `conv`.
        self.arranged: dict[torch.Size, Tensor] = {}

    def forward(self, maps: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return (B, C', h, w).

        Args:
            maps: (B, C, H, W).
            residual: (B, C', h, w), added before the ReLU.
        """
        if not _can_fuse(maps):
            return self._as_written(maps, residual)
        conv, weight = self.conv, self._arranged_for(maps.shape)
        geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        if residual is None:
            output: Tensor = torch.ops.mkldnn._convolution_pointwise(
                maps, weight, conv.bias, *geometry, "relu" if self.relu else "none", [], ""
            )
        else:
            output = torch.ops.mkldnn._convolution_pointwise.binary(
                maps, residual, weight, conv.bias, *geometry,
                "add", None, "relu" if self.relu else None, [], "",
            )  # fmt: skip
        return output

    def _as_written(self, maps: Tensor, residual: Tensor | None) -> Tensor:
        self._unpack()
        maps = self.conv(maps)
        if residual is not None:
            maps = maps + residual
        return maps.relu() if self.relu else maps

    def _arranged_for(self, shape: torch.Size) -> Tensor:
        """Return the weight as it is best for maps of a shape.

        As it is best for another, oneDNN may rearrange it in every call, by a loop that takes
        longer than the convolution. Most shapes have the same best one, which is kept once.
        """
        if shape in self.arranged:
            return self.arranged[shape]
        conv, kept = self.conv, {id(own): own for own in self.arranged.values()}
        weight: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight.to_dense() if kept else conv.weight,
            conv.padding, conv.stride, conv.dilation, conv.groups, list(shape),
        )  # fmt: skip
        if not kept:
            weight = conv.weight = nn.Parameter(weight, requires_grad=False)
        same = (own for own in kept.values() if _bytes(own).equal(_bytes(weight)))
        self.arranged[shape] = next(same, weight)
        return self.arranged[shape]

    def _unpack(self) -> None:
        if self.arranged:
            with torch.inference_mode(False), torch.no_grad():
                weight = self.conv.weight.to_dense().to(memory_format=torch.channels_last)
            self.conv.weight = nn.Parameter(weight)
            self.arranged.clear()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._unpack()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        # Copied and pickled with usual weights: oneDNN's cannot be copied.
        self._unpack()
        return self.__dict__

    def _save_to_state_dict(self, *arguments: Any) -> None:
        self._unpack()
        super()._save_to_state_dict(*arguments)


def _bytes(arranged: Tensor) -> Tensor:
    """Return what a weight that oneDNN has arranged holds, without a copy."""
    size, address = (getattr(torch.ops.mkldnn, name)(arranged) for name in ("_nbytes", "data_ptr"))
    return torch.frombuffer((ctypes.c_byte * size).from_address(address), dtype=torch.int8)


def _can_fuse(maps: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and maps.numel() > 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and _get_current_dispatch_mode() is None
        and bool(torch.backends.mkldnn.enabled)
    )


def _parts(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the largest parts of a network that are traced."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if not any(isinstance(layer, nn.Conv2d) for layer in child.modules()):
            continue
        if isinstance(child, nn.Sequential) or type(child).__module__.startswith(_TRACED):
            yield path, child
        else:
            yield from _parts(child, path)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = type(m).__module__.startswith("posebench.")
        return ours or super().is_leaf_module(m, module_qualified_name)


def _fused_part(part: nn.Module) -> nn.Module:
    graph = _Tracer().trace(part)
    layers = dict(part.named_modules())
    for node in list(graph.nodes):
        if isinstance(_layer(node, layers), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    network = fx.GraphModule(part, graph)
    calls = Counter(node.target for node in graph.nodes)
    convs = [node for node in graph.nodes if calls[node.target] == 1 and _is_usual(node, layers)]
    if not convs:
        return part
    for node in convs:
        _fuse(network, node, layers)
    graph.lint()
    network.recompile()
    return network.eval()


def _is_usual(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Return whether a node is a convolution that oneDNN's fused operator knows."""
    conv = _layer(node, layers)
    if not isinstance(conv, nn.Conv2d):
        return False
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _fuse(network: fx.GraphModule, node: fx.Node, layers: dict[str, nn.Module]) -> None:
    """Replace a convolution and the sum and ReLU that alone read it."""
    chain, residual = [node], []
    reader = _only_reader(node)
    if reader is not None and reader.target in _SUMS:
        others = [term for term in reader.args if term is not node]
        if len(others) == 1 and isinstance(others[0], fx.Node):
            residual = others
            chain.append(reader)
            reader = _only_reader(reader)
    relu = reader is not None and _is_relu(reader, layers)
    if reader is not None and relu:
        chain.append(reader)
    conv = layers[str(node.target)]
    assert isinstance(conv, nn.Conv2d)
    network.set_submodule(str(node.target), FusedConv(conv, relu=relu))
    # In the place of the last: the residual may be computed after the convolution.
    with network.graph.inserting_before(chain[-1]):
        call = network.graph.call_module(str(node.target), (node.args[0], *residual))
    chain[-1].replace_all_uses_with(call)
    for done in reversed(chain):
        network.graph.erase_node(done)


def _layer(node: fx.Node, layers: dict[str, nn.Module]) -> nn.Module | None:
    return layers[str(node.target)] if node.op == "call_module" else None


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_relu(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    return isinstance(_layer(node, layers), nn.ReLU) or node.target in _RELUS
