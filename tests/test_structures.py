from __future__ import annotations

import torch

from posebench.structures import PosePredictions


def test_predictions_become_flat_entries() -> None:
    predictions = PosePredictions(
        keypoints=torch.arange(8.0).reshape(2, 2, 2),
        keypoint_scores=torch.tensor([[0.5, 0.25], [0.75, 1.0]]),
        scores=torch.tensor([0.5, 0.125]),
    )
    entries = predictions.to_coco(42)
    assert entries[1] == {
        "image_id": 42, "category_id": 1, "keypoints": [4, 5, 0.75, 6, 7, 1.0], "score": 0.125,
    }  # fmt: skip
    nobody = PosePredictions(torch.zeros(0, 2, 2), torch.zeros(0, 2), torch.zeros(0))
    assert nobody.to_coco(42) == []
