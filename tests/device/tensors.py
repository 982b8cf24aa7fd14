"""Tensors of the test device: CUDA's dispatch keys, and values on the CPU.

Autocast, composite operators and autograd see CUDA tensors and take CUDA's ways; every operator
that would launch a kernel computes on the CPU instead. What a GPU refuses is refused.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.device.ledger import LEDGER
from tests.device.operators import Operator, operator
from tests.device.streams import STREAMS

DEVICE = torch.device("cuda:0")
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
        return run(func, types, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise Misplaced("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu()")
        return self.detach().cpu().numpy()

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_as_tensors(index))

    def __setitem__(self, index: Any, values: Any) -> None:
        super().__setitem__(_as_tensors(index), values)

    def new_tensor(  # type: ignore[override]
        self, data: Any, *, dtype: Any = None, **options: Any
    ) -> Any:
        device = options.pop("device", None)
        made = torch.tensor(data, dtype=dtype or self.dtype, **options)
        return made.to(DEVICE if device is None else device)

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


def run(func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Compute an operator whose arguments, or whose result, may be on the device."""
    device = kwargs.get("device")
    target = None if device is None else device.type
    if target != "cuda" and DeviceTensor not in types:
        return func(*args, **kwargs)
    known = operator(func)
    if known.composite:
        with Dispatch():  # seen whole in inference mode
            return func.decompose(*args, **kwargs)
    here: list[DeviceTensor] = []
    strangers: list[Tensor] = []
    values = [_held(value, here, strangers) for value in args]
    named = {name: _held(value, here, strangers) for name, value in kwargs.items()}
    if here and strangers and not known.copies:
        _check_places(func, known, strangers, args)
    if STREAMS.several and known.launches:
        STREAMS.note([_memory(own) for own in here], _written(known, args, kwargs))
    if _waits(known, args, kwargs, target):
        STREAMS.wait()
    if target == "cuda":
        named["device"] = torch.device("cpu")
    named.pop("pin_memory", None)
    results = func(*values, **named)
    if target == "cpu" or (known.name == "copy_" and not isinstance(args[0], DeviceTensor)):
        return results
    if known.name == "_to_copy" and results is values[0]:
        results = results.clone()
    return _placed(results, {id(tensor.held): tensor for tensor in here})


def _held(value: Any, here: list[DeviceTensor], strangers: list[Tensor]) -> Any:
    """Return an argument with its values on the CPU; adds tensors to those of their place."""
    if isinstance(value, DeviceTensor):
        here.append(value)
        return value.held
    if isinstance(value, list | tuple):
        return [_held(part, here, strangers) for part in value]
    if isinstance(value, Tensor) and value.is_cpu:
        strangers.append(value)
    return value


def _placed(value: Any, owners: dict[int, DeviceTensor]) -> Any:
    """Return results on the device; `owners` are the arguments, by the identity of their values."""
    if isinstance(value, list | tuple):
        return type(value)(_placed(part, owners) for part in value)
    if not isinstance(value, Tensor):
        return value
    if (own := owners.get(id(value))) is not None:
        if own.shape != value.shape:
            raise NotImplementedError("an operator changes a shape in place")
        return own
    if not torch.is_inference_mode_enabled():
        made = DeviceTensor(value)
    else:
        with torch.inference_mode(False):  # views of what was made outside of it must be so too
            made = DeviceTensor(value)
    if STREAMS.several and (memory := _memory(made)) not in map(_memory, owners.values()):
        STREAMS.made(memory)
    return made


def _check_places(func: Any, known: Operator, strangers: list[Tensor], args: Any) -> None:
    """Refuse tensors of the CPU where a GPU does."""
    if known.indexes(args) and isinstance(args[0], DeviceTensor):
        # Indices may be anywhere; they are copied.
        for index in args[1]:
            if any(index is value for value in strangers) and index.dim():
                LEDGER.wait("to the device")
        strangers = [value for value in strangers if not any(value is i for i in args[1])]
    taken = known.takes_numbers
    if refused := [tuple(value.shape) for value in strangers if value.dim() or not taken]:
        raise Misplaced(f"{func}: tensors {refused} are on the CPU, others on {DEVICE}")


def _waits(known: Operator, args: Any, kwargs: Any, target: str | None) -> bool:
    """Note an operator in the ledger; return whether Python waits for it."""
    waits = _note_copy(known, args, kwargs, target) if known.copies else None
    return LEDGER.note(known, args, kwargs) if waits is None else waits


def _memory(tensor: DeviceTensor) -> int:
    """Return the address of a tensor's memory."""
    address: int = tensor.held.untyped_storage()._cdata
    return address


def _written(known: Operator, args: Any, kwargs: Any) -> list[int]:
    """Return the addresses of the memory that an operator changes."""
    written = []
    for place, name in known.writes:
        value = args[place] if place < len(args) else kwargs.get(name)
        for own in value if isinstance(value, list | tuple) else (value,):
            if isinstance(own, DeviceTensor):
                written.append(_memory(own))
    return written


def _note_copy(known: Operator, args: Any, kwargs: Any, target: str | None) -> bool | None:
    """Note a copy to or from the device; return whether Python waits for it, None: it is none."""
    if known.name == "_to_copy":
        source, leaves = args[0], target == "cpu"
        enters = target == "cuda" and not isinstance(source, DeviceTensor)
        if not (leaves or enters):
            return None
        non_blocking = kwargs.get("non_blocking", False)
    elif isinstance(args[0], DeviceTensor) != isinstance(args[1], DeviceTensor):
        source, enters = args[1], isinstance(args[0], DeviceTensor)
        non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    else:
        return None
    if enters:
        return LEDGER.upload(pinned=is_pinned(source), non_blocking=non_blocking)
    LEDGER.wait("to the CPU")
    return True


def is_pinned(tensor: Tensor, *_: Any) -> bool:
    return tensor.is_cpu and tensor.untyped_storage().data_ptr() in _pinned


def pin(tensor: Tensor, *_: Any) -> Tensor:
    """Return a copy in memory that counts as pinned."""
    copy = tensor.clone(memory_format=torch.preserve_format)
    _pinned[copy.untyped_storage().data_ptr()] = copy
    return copy


def unpin_all() -> None:
    _pinned.clear()


class Dispatch(TorchDispatchMode):
    """Operators that make tensors on the device, of none that are there."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and asking takes as long as the rest

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, types, args, kwargs or {})


def _on_device(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


_ordinary_tensor = torch.tensor
_ordinary_to: Any = Tensor.to
_ordinary_as_tensor, _ordinary_attention = torch.as_tensor, F.scaled_dot_product_attention


def _tensor(data: Any, *, device: Any = None, **options: Any) -> Tensor:
    if not _on_device(device):
        return _ordinary_tensor(data, device=device, **options)
    return _ordinary_tensor(data, **options).to(device)


def _as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    if not _on_device(device):
        return _ordinary_as_tensor(data, dtype=dtype, device=device)
    if isinstance(data, Tensor):
        return data.to(device, dtype)
    return _ordinary_as_tensor(data, dtype=dtype).to(device)


def _to(tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
    if not isinstance(tensor, DeviceTensor):
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
        if device and device.type == "cuda" and dtype:
            # One after the other, as inference mode needs it.
            tensor = _ordinary_to(tensor, dtype)
            return _ordinary_to(tensor, device, non_blocking=non_blocking)
    return _ordinary_to(tensor, *args, copy=copy, **kwargs)


def _as_tensors(index: Any) -> Any:
    """Return an index whose lists are tensors on the CPU, which have to be sent to the device."""
    if isinstance(index, tuple):
        return tuple(_as_tensors(part) for part in index)
    return torch.tensor(index) if isinstance(index, list) else index


def _attention(query: Tensor, *args: Any, **kwargs: Any) -> Any:
    compute = _fast if isinstance(query, DeviceTensor) else _ordinary_attention
    return compute(query, *args, **kwargs)


def _fast(
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


# Functions that ask the driver before an operator is dispatched, and what stands in for them.
FUNCTIONS = (
    (torch, "tensor", _tensor), (torch, "as_tensor", _as_tensor), (Tensor, "to", _to),
    (Tensor, "pin_memory", pin), (Tensor, "is_pinned", is_pinned),
    (F, "scaled_dot_product_attention", _attention),
)  # fmt: skip
