"""HigherHRNet's targets against hand-worked values; the published ones are in tests/parity."""

from __future__ import annotations

from posebench.models.higher_hrnet.targets import build_targets
from tests.builders import make_batch


def test_targets_peak_at_every_resolution_and_name_the_tags_cells() -> None:
    batch = make_batch((1,), size=64)
    targets = build_targets(batch, (4, 2))
    keypoints = batch.poses[0].keypoints[0]
    for maps, stride in zip(targets.heatmaps, (4, 2), strict=True):
        for k in (0, 9):
            x, y = (keypoints[k] / stride).long().tolist()
            assert maps[0, k, y, x] == 1
            assert maps[0, k].max() == 1
    x, y = (keypoints[3] / 4).long().tolist()
    assert targets.cells[0, 3] == y * 16 + x
