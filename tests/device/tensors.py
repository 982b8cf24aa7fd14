"""Tensors of the test device: CUDA's dispatch keys, and values on the CPU.

Autocast, composite operators and autograd see CUDA tensors and take CUDA's ways; every operator
that would launch a kernel computes on the CPU instead. What a GPU refuses is refused.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from tests.device.ledger import LEDGER, is_indexing, is_silent
from tests.device.streams import STREAMS

DEVICE = torch.device("cuda:0")
# Beside pointwise operators, these take a tensor of no dimension on the CPU as a number.
_TAKE_NUMBERS = {
    "_index_put_impl_", "_to_copy", "copy_", "fill", "fill_", "index_fill", "index_fill_",
    "index_put", "index_put_", "masked_fill", "masked_fill_", "where",
}  # fmt: skip
_pinned: dict[int, Tensor] = {}  # by the address of their memory


class Misplaced(RuntimeError):
    """Tensors of several devices meet, or NumPy is given one of a GPU."""


class DeviceTensor(Tensor):
    """A tensor on the test device."""

    held: Tensor  # the values, on the CPU
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: Tensor) -> DeviceTensor:
        made: DeviceTensor = Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, layout=values.layout, device=DEVICE,
        )  # fmt: skip
        made.held = values
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise Misplaced("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu()")
        return self.detach().cpu().numpy()

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"DeviceTensor({self.held!r})"

    def __deepcopy__(self, memo: Any) -> DeviceTensor:
        copy = DeviceTensor(self.held.detach().clone())
        copy.requires_grad_(self.requires_grad)
        copy.__dict__.update({k: v for k, v in self.__dict__.items() if k != "held"})
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:  # of files, which are read to the CPU
        return self.held.detach().__reduce_ex__(protocol)


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """Compute an operator whose arguments, or whose result, may be on the device."""
    flat, spec = tree_flatten((args, kwargs))
    device = kwargs.get("device")
    target = None if device is None else torch.device(device).type
    here = [value for value in flat if isinstance(value, DeviceTensor)]
    if not here and target != "cuda":
        return func(*args, **kwargs)
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    if func.namespace == "aten" and func.has_kernel_for_dispatch_key(key):
        with Dispatch():  # seen whole in inference mode
            return func.decompose(*args, **kwargs)
    name = func._schema.name.split("::")[1]
    if here:
        _check_places(func, name, flat, args)
    _note(func, name, args, kwargs, target)
    owner = {id(tensor.held): tensor for tensor in here}
    known = {_memory(tensor.held) for tensor in here}
    values = [value.held if isinstance(value, DeviceTensor) else value for value in flat]
    args, kwargs = tree_unflatten(values, spec)
    if target == "cuda":
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    results = func(*args, **kwargs)
    if target == "cpu" or (name == "copy_" and id(args[0]) not in owner):
        return results

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if (own := owner.get(id(value))) is not None:
            if own.shape != value.shape:
                raise NotImplementedError(f"{func} changes a shape in place")
            return own
        if name == "_to_copy" and value is args[0]:
            value = value.clone()
        if (memory := _memory(value)) not in known:
            STREAMS.made(memory)
        with torch.inference_mode(False):  # views of what was made outside of it must be so too
            return DeviceTensor(value)

    return tree_map(placed, results)


def _check_places(func: Any, name: str, flat: Any, args: Any) -> None:
    """Refuse tensors of the CPU where a GPU does."""
    strangers = [
        value
        for value in flat
        if isinstance(value, Tensor) and not isinstance(value, DeviceTensor) and value.is_cpu
    ]
    if not strangers or name in ("copy_", "_to_copy"):
        return
    if is_indexing(name, args) and isinstance(args[0], DeviceTensor):
        # Indices may be anywhere; they are copied.
        for index in args[1]:
            if any(index is value for value in strangers) and index.dim():
                LEDGER.wait("to the device")
        strangers = [value for value in strangers if not any(value is i for i in args[1])]
    numbers = torch.Tag.pointwise in func.tags or name in _TAKE_NUMBERS
    if refused := [tuple(value.shape) for value in strangers if value.dim() or not numbers]:
        raise Misplaced(f"{func}: tensors {refused} are on the CPU, others on {DEVICE}")


def _note(func: Any, name: str, args: Any, kwargs: Any, target: str | None) -> None:
    """Note an operator in the ledger, and in its stream."""
    if not is_silent(func, name):
        read: list[int] = []
        written: list[int] = []
        for number, argument in enumerate(func._schema.arguments):
            value = args[number] if number < len(args) else kwargs.get(argument.name)
            is_written = argument.alias_info is not None and argument.alias_info.is_write
            for own in value if isinstance(value, list | tuple) else (value,):
                if isinstance(own, DeviceTensor):
                    (written if is_written else read).append(_memory(own.held))
        STREAMS.note(read, written)
    waits = _note_copy(name, args, kwargs, target)
    if waits is None:
        waits = LEDGER.note(func, name, args, kwargs)
    if waits:
        STREAMS.wait()


def _memory(tensor: Tensor) -> int:
    """Return the address of a tensor's memory."""
    return tensor.untyped_storage()._cdata


def _note_copy(name: str, args: Any, kwargs: Any, target: str | None) -> bool | None:
    """Note a copy to or from the device; return whether Python waits for it, None: it is none."""
    if name == "_to_copy":
        source, leaves = args[0], target == "cpu"
        enters = target == "cuda" and not isinstance(source, DeviceTensor)
        if not (leaves or enters):
            return None
        non_blocking = kwargs.get("non_blocking", False)
    elif name == "copy_" and isinstance(args[0], DeviceTensor) != isinstance(args[1], DeviceTensor):
        source, enters = args[1], isinstance(args[0], DeviceTensor)
        non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    else:
        return None
    if enters:
        return LEDGER.upload(pinned=is_pinned(source), non_blocking=non_blocking)
    LEDGER.wait("to the CPU")
    return True


def is_pinned(tensor: Tensor) -> bool:
    return tensor.is_cpu and tensor.untyped_storage().data_ptr() in _pinned


def pin(tensor: Tensor) -> Tensor:
    """Return a copy in memory that counts as pinned."""
    copy = tensor.clone(memory_format=torch.preserve_format)
    _pinned[copy.untyped_storage().data_ptr()] = copy
    return copy


def unpin_all() -> None:
    _pinned.clear()


class Dispatch(TorchDispatchMode):
    """Operators that make tensors on the device, of none that are there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Functions(TorchFunctionMode):
    """Functions that ask the driver before an operator is dispatched."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        here = bool(args) and isinstance(args[0], DeviceTensor)
        on_device = device is not None and torch.device(device).type == "cuda"
        if func in (torch.tensor, torch.as_tensor) and on_device:
            if isinstance(args[0], Tensor):
                return args[0].to(device, kwargs.get("dtype"))
            return func(*args, **{**kwargs, "device": "cpu"}).to(device)
        if func is Tensor.new_tensor and here and device is None:
            return torch.tensor(args[1], dtype=kwargs.get("dtype") or args[0].dtype).to(DEVICE)
        if func is Tensor.to and not here:
            parsed = torch._C._nn._parse_to(*args[1:], **kwargs)
            if parsed[0] and parsed[0].type == "cuda" and parsed[1]:
                # One after the other, as inference mode needs it.
                return args[0].to(parsed[1]).to(parsed[0], non_blocking=parsed[2])
        if func is Tensor.pin_memory:
            return pin(args[0])
        if func is Tensor.is_pinned:
            return not here and is_pinned(args[0])
        if func in (Tensor.__getitem__, Tensor.__setitem__) and here:
            args = (args[0], _as_tensors(args[1]), *args[2:])
        if func is F.scaled_dot_product_attention and here:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)


def _as_tensors(index: Any) -> Any:
    """Return an index whose lists are tensors on the CPU, which have to be sent to the device."""
    if isinstance(index, tuple):
        return tuple(_as_tensors(part) for part in index)
    return torch.tensor(index) if isinstance(index, list) else index


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, **_: Any,
) -> Any:  # fmt: skip
    """Compute attention in one operator, as a GPU's fast kernels do, which take four axes."""
    if torch.is_autocast_enabled("cuda"):
        low = torch.get_autocast_dtype("cuda")
        query, key, value = query.to(low), key.to(low), value.to(low)
    options: dict[str, Any] = {"scale": scale}
    if query.dim() != 4:
        math = torch.ops.aten._scaled_dot_product_attention_math
        return math(query, key, value, attn_mask, dropout_p, is_causal, **options)[0]
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = query.new_zeros(attn_mask.shape).masked_fill(~attn_mask, -torch.inf)
    fast = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return fast(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, **options)[0]
