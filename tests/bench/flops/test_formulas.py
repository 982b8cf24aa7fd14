"""Formulas belong to operators of this version of PyTorch."""

from __future__ import annotations

import torch

from posebench.bench.flops.formulas import FORMULAS


def test_every_formula_belongs_to_an_operator_that_exists() -> None:
    import torchvision  # noqa: F401  registers its operators

    for name in FORMULAS:
        space, _, operator = name.partition("::")
        assert hasattr(getattr(torch.ops, space), operator), name
