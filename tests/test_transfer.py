from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posebench.transfer import moved


@dataclass(frozen=True)
class Outputs:
    maps: tuple[Tensor, ...]
    parts: dict[str, list[Tensor]]
    name: str


def test_a_value_is_moved_with_all_tensors_in_it() -> None:
    outputs = Outputs((torch.ones(2), torch.ones(3)), {"a": [torch.zeros(1)]}, "name")
    there = moved(outputs, torch.device("meta"))
    assert [own.shape for own in there.maps] == [(2,), (3,)]
    assert all(own.is_meta for own in (*there.maps, *there.parts["a"])) and there.name == "name"


def test_on_the_cpu_nothing_is_copied() -> None:
    outputs = Outputs((torch.ones(2),), {}, "name")
    same = moved(outputs, torch.device("cpu"))
    assert same.maps[0].data_ptr() == outputs.maps[0].data_ptr()
