"""The cost of each operator, from the shapes of its inputs and outputs.

A cost is (MACs, FLOPs). A MAC is one multiply-add: convolutions, matrix products, attention,
interpolation and sampling consist of them, and they are what papers count, often under the name of
FLOPs. FLOPs are two per MAC plus all other floating-point arithmetic: norms, activations, sums.
Integer arithmetic is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

Cost = tuple[int, int]
# Called with the operator's output and arguments; returns None if the cost depends on values.
Formula = Callable[..., "Cost | None"]

SIGMOID = 4  # negate, exponential, add, divide
SOFTMAX = 4  # subtract the largest, exponential, sum, divide
NORM = 2  # with stored statistics: a scale and a shift
FRESH_NORM = 7  # mean 1, variance 3, divide 1, scale and shift 2

CORNERS = {"nearest": 0, "bilinear": 4, "bicubic": 16}  # cells in a sample's weighted sum


def macs(count: int) -> Cost:
    return count, 2 * count


def _mm(out: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> Cost:
    return macs(out.numel() * a.shape[-1])


def _addmm(out: Tensor, bias: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> Cost:
    return macs(out.numel() * a.shape[-1])


def _dot(out: Tensor, a: Tensor, b: Tensor) -> Cost:
    return macs(a.numel())


def _convolution(
    out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
    dilation: Any, transposed: bool, *_: Any, **__: Any,
) -> Cost:  # fmt: skip
    # One product per kernel weight and pixel: the output's pixels, or the input's if transposed.
    # The weight's first axis is the channels of those pixels, its second those of one group.
    pixels = x if transposed else out
    return macs(pixels.numel() * prod(weight.shape[1:]))


def _attention(out: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Cost:
    pairs = query.shape[:-1].numel() * key.shape[-2]
    products = pairs * (query.shape[-1] + value.shape[-1])
    return products, 2 * products + (1 + SOFTMAX) * pairs


def _native_attention(
    out: Any, query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *_: Any, **__: Any
) -> Cost:
    """Return the cost of `nn.MultiheadAttention`'s fast path: projections and attention."""
    batch, queries, keys = len(query), query.shape[1], key.shape[1]
    pairs = batch * heads * queries * keys
    products = batch * (2 * queries + 2 * keys) * width**2 + 2 * pairs * (width // heads)
    return products, 2 * products + (1 + SOFTMAX) * pairs


def _deform_conv(out: Tensor, x: Tensor, weight: Tensor, *_: Any, **__: Any) -> Cost:
    taps = out.shape[0] * out.shape[2:].numel() * weight.shape[2:].numel()
    samples = taps * x.shape[1] * CORNERS["bilinear"]
    return macs(samples + out.numel() * prod(weight.shape[1:]))


def _roi_align(
    out: Tensor, x: Tensor, rois: Tensor, scale: float, height: int, width: int,
    sampling_ratio: int = -1, *_: Any,
) -> Cost | None:  # fmt: skip
    if sampling_ratio > 0:
        samples = out.numel() * sampling_ratio**2
    elif rois.device.type == "meta":
        return None  # the number of samples per bin depends on the size of the region
    else:
        sides = (rois[:, 3:5] - rois[:, 1:3]).clamp(min=0) * scale
        bins = (sides / sides.new_tensor([width, height])).ceil().clamp(min=1).prod(1)
        samples = int(bins.sum()) * out.shape[1:].numel()
    return macs(samples * CORNERS["bilinear"])


def _grid_sample(out: Tensor, x: Tensor, grid: Tensor, mode: int, *_: Any) -> Cost:
    return macs(out.numel() * [4, 0, 16][mode])  # ATen's codes 0, 1, 2: bilinear, nearest, bicubic


def _embedding_bag(
    out: Any, weight: Tensor, indices: Tensor, offsets: Tensor, scale: bool = False,
    mode: int = 0, sparse: bool = False, per_sample_weights: Tensor | None = None, *_: Any,
) -> Cost:  # fmt: skip
    read = indices.numel() * weight.shape[-1]
    return macs(read) if per_sample_weights is not None else (0, read)


def _pool(out: Any, x: Tensor, kernel: list[int], *_: Any, **__: Any) -> Cost:
    values = out[0] if isinstance(out, tuple) else out
    sides = kernel if len(kernel) > 1 else [kernel[0]] * 2
    return 0, values.numel() * prod(sides)


def _interpolation(mode: str) -> Formula:
    return lambda out, *_, **__: macs(out.numel() * CORNERS[mode])


def _per_output(flops: int) -> Formula:
    def formula(out: Any, *_: Any, **__: Any) -> Cost:
        first = out[0] if isinstance(out, (tuple, list)) else out
        return 0, flops * first.numel()

    return formula


def _per_input(flops: int) -> Formula:
    def formula(out: Any, x: Tensor, *_: Any, **__: Any) -> Cost:
        return 0, flops * x.numel()

    return formula


# By the operator's name in ATen or torchvision, without the overload and the in-place underscore.
FORMULAS: dict[str, Formula] = {
    "aten::mm": _mm,
    "aten::bmm": _mm,
    "aten::mv": _mm,
    "aten::addmm": _addmm,
    "aten::addmv": _addmm,
    "aten::baddbmm": _addmm,
    "aten::dot": _dot,
    "aten::convolution": _convolution,
    "aten::scaled_dot_product_attention": _attention,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::_native_multi_head_attention": _native_attention,
    "torchvision::deform_conv2d": _deform_conv,
    "torchvision::roi_align": _roi_align,
    "aten::grid_sampler_2d": _grid_sample,
    "aten::_embedding_bag": _embedding_bag,
    "aten::_embedding_bag_forward_only": _embedding_bag,
    "aten::upsample_bilinear2d": _interpolation("bilinear"),
    "aten::upsample_bicubic2d": _interpolation("bicubic"),
    "aten::max_pool2d_with_indices": _pool,
    "aten::max_pool2d": _pool,
    "aten::avg_pool2d": _pool,
    **{
        f"aten::{name}": _per_output(NORM)
        for name in (
            "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
            "miopen_batch_norm", "_batch_norm_no_update",
        )
    },
    **{
        f"aten::{name}": _per_output(FRESH_NORM)
        for name in ("native_layer_norm", "native_group_norm")
    },
    **{
        f"aten::{name}": _per_output(1)
        for name in (
            "add", "sub", "rsub", "mul", "div", "neg", "abs", "reciprocal", "square", "sqrt",
            "rsqrt", "exp", "log", "log2", "sin", "cos", "tanh", "erf", "pow", "floor", "ceil",
            "round", "trunc", "remainder", "fmod", "maximum", "minimum", "clamp", "clamp_min",
            "clamp_max", "relu", "leaky_relu", "hardtanh", "threshold", "cumsum", "exponential",
        )
    },
    **{f"aten::{name}": _per_output(2) for name in ("addcmul", "addcdiv", "logit")},
    "aten::lerp": _per_output(3),
    "aten::sigmoid": _per_output(SIGMOID),
    "aten::silu": _per_output(SIGMOID + 1),
    "aten::gelu": _per_output(5),  # scale, error function, add, halve, multiply
    "aten::_softmax": _per_output(SOFTMAX),
    "aten::_log_softmax": _per_output(SOFTMAX),
    **{
        f"aten::{name}": _per_input(1)
        for name in (
            "sum", "mean", "prod", "amax", "amin", "max", "min", "adaptive_avg_pool2d",
            "_adaptive_avg_pool2d",
        )
    },
    **{f"aten::{name}": _per_input(2) for name in ("norm", "linalg_vector_norm")},
    **{f"aten::{name}": _per_input(3) for name in ("var", "std")},
}  # fmt: skip

# Operators that copy, view, create or select values without floating-point arithmetic.
_MOVES = """
    _conj _efficientzerotensor _local_scalar_dense _reshape_alias _to_copy _unsafe_view alias
    arange as_strided broadcast_to cat chunk clone constant_pad_nd contiguous copy detach
    diagonal embedding empty empty_like empty_strided expand expand_as eye fill flip full
    full_like gather index index_put index_select item lift_fresh linspace masked_fill meshgrid
    new_empty new_empty_strided new_full new_ones new_zeros ones ones_like permute pixel_shuffle
    repeat repeat_interleave reshape resolve_conj resolve_neg roll scalar_tensor scatter select
    set slice split split_with_sizes squeeze stack t transpose tril triu unbind unfold
    unsafe_split unsqueeze upsample_nearest2d view view_as where zero zeros zeros_like
"""
MOVES = frozenset(f"aten::{name}" for name in _MOVES.split())


def operator_name(func: torch._ops.OpOverload) -> str:
    """Return `aten::add` of `aten.add_.Tensor`."""
    name = str(func._schema.name)
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def has_floats(out: Any) -> bool:
    """Return whether an operator's output, or part of it, is a floating-point tensor."""
    parts = out if isinstance(out, (tuple, list)) else (out,)
    return any(isinstance(part, Tensor) and part.is_floating_point() for part in parts)
