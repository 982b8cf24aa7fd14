"""CID's network and its merging of views; the published numbers are in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posebench.models.cid.model import CID
from posebench.models.cid.recipes import CIDConfig
from posebench.preprocess import scaled_batches
from posebench.skeleton import COCO
from posebench.structures import Inference, Resize
from tests.builders import make_sample

TINY = CIDConfig(backbone="hrnet_tiny", embedding=8)


def test_a_scale_that_changes_nothing_changes_no_outputs() -> None:
    model = CID(replace(TINY, min_person_area=0.0), COCO).eval()
    [(_, batches)] = scaled_batches([make_sample(2)], Inference(Resize(128)))
    with torch.inference_mode():
        once, twice = (
            model.merged_outputs(batches * count, Inference(Resize(128))) for count in (1, 2)
        )
    assert len(once.people) > 0
    assert once.people.tolist() == twice.people.tolist()
    torch.testing.assert_close(once.instance_heatmaps, twice.instance_heatmaps)


@pytest.mark.parametrize("embedding", [8, 16, 64])
def test_embedding_width_is_a_field(embedding: int) -> None:
    model = CID(replace(TINY, embedding=embedding), COCO)
    assert model.reduce.weight.shape[0] == embedding
    assert model.decoupling.fuse.weight.shape == (embedding, 2 * embedding, 1, 1)
