"""torch.compile takes every network whole: one graph, without a way back to Python in between."""

from __future__ import annotations

import pytest
import torch

from posebench.models import RECIPES, profile_of
from posebench.skeleton import COCO
from posebench.transfer import tensors_in
from tests.builders import make_batch

NAMES = [name for name in RECIPES if name.endswith("_tiny")]
# How many people there are decides how many boxes its keypoint head computes.
NEEDS_PEOPLE = {"mask_rcnn_tiny"}


@pytest.mark.parametrize("name", NAMES)
def test_a_forward_pass_is_one_graph(name: str) -> None:
    model = RECIPES[name].build(COCO).eval()
    batch = make_batch((2, 2), size=64)
    people = profile_of(model.config).given_people(model, batch)
    cases = [people] if people is None or name in NEEDS_PEOPLE else [people, None]
    with torch.inference_mode():
        for given in cases:
            torch._dynamo.reset()
            # It raises where the graph would break; its "eager" computes what it has traced.
            compiled = torch.compile(model, backend="eager", fullgraph=True)
            ours = list(tensors_in(compiled(batch.images, batch.padding, given)))
            if given is None and people is not None:  # slots, of which some are empty
                continue
            theirs = list(tensors_in(model(batch.images, batch.padding, given)))
            for own, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4)


def test_every_image_size_is_compiled_for_itself() -> None:
    sizes: list[tuple[object, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        assert all(isinstance(side, int) for own in inputs for side in own.shape)
        sizes.extend(tuple(own.shape) for own in inputs if own.shape[:2] == (1, 3))
        return graph.forward

    model = RECIPES["pifpaf_tiny"].build(COCO).eval()
    torch._dynamo.reset()
    model.compile_network(backend)  # type: ignore[arg-type]
    with torch.inference_mode():
        for side in (64, 96, 64):
            model(torch.rand(1, 3, side, side))
    assert sizes == [(1, 3, 64, 64), (1, 3, 96, 96)]
