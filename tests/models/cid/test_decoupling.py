"""GFD against the paper's equations, one person at a time."""

from __future__ import annotations

import pytest
import torch

from posebench.models.cid import decoupling
from posebench.models.cid.decoupling import Decoupling, people_per_chunk

EMBEDDING = 8


def reference_decoupling(
    module: Decoupling, maps: torch.Tensor, features: torch.Tensor, people: torch.Tensor
) -> torch.Tensor:
    """Return heatmap scores by the paper's Eqs. 7 and 9 to 12, one person at a time."""
    scores = []
    for (image, y, x), person in zip(people.tolist(), features, strict=True):
        shared = maps[image : image + 1]
        parts = []
        if module.has_channel:
            parts.append(shared * module.channel(person)[:, None, None])
        if module.has_spatial:
            query = module.similarity(person)[:, None, None]
            rows, columns = torch.meshgrid(
                torch.arange(shared.shape[2]), torch.arange(shared.shape[3]), indexing="ij"
            )
            offsets = torch.stack([x - columns, y - rows])[None] / 32
            cues = torch.cat([(shared * query).sum(1, keepdim=True), offsets], 1)
            parts.append(shared * module.mask(cues).sigmoid())
        fused = module.fuse(torch.cat(parts, 1)).relu()
        scores.append(module.heatmap(fused).sigmoid().clamp(1e-4, 1 - 1e-4))
    return torch.cat(scores)


@pytest.mark.parametrize(("spatial", "channel"), [(True, True), (True, False), (False, True)])
def test_decoupling_equals_the_papers_equations(spatial: bool, channel: bool) -> None:
    module = Decoupling(24, 5, EMBEDDING, spatial=spatial, channel=channel).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    shared = torch.randn(3, EMBEDDING, 9, 11, dtype=torch.float64)
    people = torch.tensor([[0, 2, 3], [0, 8, 10], [2, 0, 0]])  # the middle image is empty
    features = torch.randn(3, 24, dtype=torch.float64)
    heatmaps = module(shared, features, people)
    torch.testing.assert_close(heatmaps, reference_decoupling(module, shared, features, people))


def test_people_are_processed_one_by_one_on_a_cpu_alone_and_without_gradients() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert people_per_chunk(7, cpu) == people_per_chunk(7, gpu) == 7
    with torch.inference_mode():
        assert people_per_chunk(7, cpu) == 1
        assert people_per_chunk(7, gpu) == 7
        assert people_per_chunk(0, gpu) == 1


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize(("spatial", "channel"), [(True, True), (True, False), (False, True)])
def test_scores_do_not_depend_on_how_many_people_are_processed_at_a_time(
    spatial: bool, channel: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a GPU all people of an image are one chunk, also in inference.
    monkeypatch.setattr(decoupling, "people_per_chunk", lambda count, device: chunk)
    module = Decoupling(24, 5, EMBEDDING, spatial=spatial, channel=channel).double()
    shared = torch.randn(2, EMBEDDING, 9, 11, dtype=torch.float64)
    people = torch.tensor([[0, 2, 3], [0, 8, 10], [0, 0, 0]])  # the second image is empty
    features = torch.randn(3, 24, dtype=torch.float64)
    with torch.inference_mode():
        heatmaps = module(shared, features, people)
        expected = module.as_written(shared, features, people)
    torch.testing.assert_close(heatmaps, expected)
