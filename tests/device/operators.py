"""What the test device has to know of an operator, looked up once in its schema."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

# Python waits for these, as their values, or the shapes of their results, are needed on the CPU.
_WAITING = {
    "_local_scalar_dense", "_unique2", "bincount", "equal", "histc", "is_nonzero", "masked_select",
    "nms", "nonzero", "unique_consecutive", "unique_dim",
}  # fmt: skip
# These launch nothing: memory is taken, or seen in another form.
_SILENT = {
    "_local_scalar_dense", "_reshape_alias", "_unsafe_view", "alias", "detach", "empty",
    "empty_like", "empty_strided", "lift_fresh", "new_empty", "new_empty_strided", "resize_",
    "set_",
}  # fmt: skip
# Beside pointwise operators, these take a tensor of no dimension on the CPU as a number.
_TAKE_NUMBERS = {
    "_index_put_impl_", "_to_copy", "copy_", "fill", "fill_", "index_fill", "index_fill_",
    "index_put", "index_put_", "masked_fill", "masked_fill_", "where",
}  # fmt: skip


class Operator:
    """An operator of PyTorch.

    Attributes:
        name: without its namespace and overload.
        composite: it consists of other operators, whatever the device.
        launches: it launches a kernel, if it is neither a view nor an allocation.
        waits: what Python waits for each time it is called; empty: nothing.
        takes_numbers: tensors of no dimension may be on the CPU.
        copies: between devices too.
        writes: the places and names of the arguments that it changes.
    """

    def __init__(self, func: Any) -> None:
        self.name: str = func._schema.name.split("::")[1]
        key = torch._C.DispatchKey.CompositeImplicitAutograd
        self.composite = func.namespace == "aten" and func.has_kernel_for_dispatch_key(key)
        self.launches = not func.is_view and self.name not in _SILENT
        waits = self.name in _WAITING
        self.waits = {"_local_scalar_dense": "item"}.get(self.name, self.name) if waits else ""
        self.takes_numbers = torch.Tag.pointwise in func.tags or self.name in _TAKE_NUMBERS
        self.copies = self.name in ("copy_", "_to_copy")
        self.writes = [
            (place, argument.name)
            for place, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        self._repeats = self.name == "repeat_interleave" and func._overloadname == "Tensor"
        self._indexes = self.name.startswith(("index", "_index_put", "_unsafe_index"))

    def finds_size(self, kwargs: Any) -> bool:
        """Return whether the size of the result has to be counted first."""
        return self._repeats and kwargs.get("output_size") is None

    def indexes(self, args: Any) -> bool:
        """Return whether the second argument is a list of indices."""
        return self._indexes and isinstance(args[1], list | tuple)

    def has_mask(self, args: Any) -> bool:
        """Return whether an index is boolean, so that its length has to be counted first."""
        if not self.indexes(args):
            return False
        masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
        # One value is filled in where the mask is set, without counting.
        filled = "put" in self.name and len(masks) == 1 and args[2].numel() == 1
        return bool(masks) and not filled


operator = cache(Operator)
