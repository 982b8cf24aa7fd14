"""Which queries attend to one another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from posebench.models.group_pose.decoder import DecoderLayer, group_mask
from tests.models.group_pose.builders import TINY


def test_attention_reaches_the_queries_it_should() -> None:
    queries = torch.randn(1, 3, 4, TINY.channels, requires_grad=True)  # N = 3, T = 4

    def reached(**changes: Any) -> set[tuple[int, int]]:
        """Return (person, type) of the queries that person 1's keypoint query 2 depends on."""
        layer = DecoderLayer(replace(TINY, **changes))
        output = layer.attend_groups(queries)[0, 1, 2]
        # Not the plain sum, which a layer norm makes constant.
        weight = torch.linspace(-1, 1, TINY.channels)
        [gradient] = torch.autograd.grad((output * weight).sum(), queries)
        return {(n, t) for n, t in gradient[0].abs().sum(-1).nonzero().tolist()}

    person = {(1, t) for t in range(4)}
    alike = {(n, 2) for n in range(3)}
    everyone = {(n, t) for n in range(3) for t in range(4)}
    assert reached(across_instance=False) == person
    assert reached(within_instance=False) == alike
    assert reached(within_instance=False, across_types="instance") == {(1, 2)}
    assert reached(within_instance=False, across_types="keypoint") == alike
    assert reached(within_instance=False, across_instance=False) == {(1, 2)}
    assert reached(self_attention="masked") == person | alike
    assert reached(self_attention="standard") == everyone
    # One after the other, the group attentions join everybody.
    assert reached() == everyone


def test_the_mask_joins_a_person_and_a_type() -> None:
    expected = [
        [1, 1, 1, 0],
        [1, 1, 0, 1],
        [1, 0, 1, 1],
        [0, 1, 1, 1],
    ]
    assert group_mask(2, 2, torch.device("cpu")).int().tolist() == expected
