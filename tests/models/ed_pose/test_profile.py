"""Attention maps, traces, counts and graphs of ED-Pose."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posebench.errors import ModelError
from posebench.models import profile_of
from posebench.models.ed_pose.profile import as_written
from posebench.skeleton import CROWDPOSE
from posebench.structures import DetrResize, Inference
from tests.builders import make_batch, make_sample
from tests.models.ed_pose.builders import TINY, small_model


def test_several_scales_and_a_mirror_image_are_one_set() -> None:
    model = small_model()
    inference = Inference(DetrResize(128, 128), scales=(0.5, 1.0))
    found, maps = profile_of(model.config).explain(model, make_sample(1), inference)
    assert len(found) == len(maps.people) > 0
    assert (found.scores.diff() <= 0).all()


def test_keypoints_attend_around_their_boxes() -> None:
    """With offsets of their first values and small boxes, attention stays near the centre."""
    model = small_model()
    model.decoder.keypoint_sides.data.fill_(-6.0)
    model.decoder.side_head.layers[-1].weight.data.zero_()  # type: ignore[operator]
    batch = make_batch((1,), size=128)
    with torch.no_grad():
        outputs = model(batch.images)
    [(found, maps)] = profile_of(model.config).heatmaps(model, outputs, batch.geometry)
    assert maps.people.shape == (len(found), 17, 16, 16)
    [view] = outputs.views
    chosen = outputs.logits[-1, 0, :, 1].argmax()
    centres = view.references[-2, 0, chosen, 1:, :2] * 16
    y, x = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    weight = maps.people[0]
    mean = torch.stack([(weight * axis).sum((1, 2)) / weight.sum((1, 2)) for axis in (x, y)], -1)
    assert (mean - centres).abs().max() < 4.0


def test_the_trace_ends_at_the_people() -> None:
    model = small_model(skeleton=CROWDPOSE)
    sample = make_sample(2, CROWDPOSE)
    inference = Inference(DetrResize(96, 128))
    found, trace = profile_of(model.config).trace(model, sample, inference, 2)
    [predicted] = model.predict([sample], replace(inference, flip=False))
    torch.testing.assert_close(found.keypoints, predicted.keypoints, rtol=1e-4, atol=1e-3)
    assert trace.steps.shape == (len(found), 3, 14, 2)
    torch.testing.assert_close(trace.steps[:, -1], found.keypoints, rtol=1e-4, atol=1e-3)
    assert trace.reliance.shape == (2, 96, 96)


def test_what_the_published_code_throws_away_changes_nothing() -> None:
    model = small_model()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, written = model(images), as_written(model, images, None, None)
    for name in ("logits", "boxes", "keypoints"):
        torch.testing.assert_close(getattr(written, name), getattr(ours, name))


def test_a_graph_returns_what_is_decoded() -> None:
    model = small_model()
    images = torch.randn(2, 3, 64, 64)
    graph = profile_of(TINY).graph
    with torch.no_grad():
        outputs = model(images)
        restored = graph.restored(model, graph.outputs(model, images, None, False), (64, 64))
    assert restored.keypoints.equal(outputs.keypoints)
    assert restored.boxes.equal(outputs.boxes)
    batch = make_batch((0, 0), size=64)
    with pytest.raises(ModelError, match="without the attention"):
        profile_of(TINY).heatmaps(model, restored, batch.geometry)
