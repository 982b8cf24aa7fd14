"""CID's pieces against hand-worked values; the published numbers are in tests/parity."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from posebench.models import profile_of
from posebench.models.cid import decoupling
from posebench.models.cid.decoupling import Decoupling, people_per_chunk
from posebench.models.cid.model import (
    CID,
    CIDOutputs,
    build_targets,
    contrastive_loss,
    decode_instances,
    find_centres,
    gaussian_radius,
    keep_people,
)
from posebench.models.cid.multiscale import Grid
from posebench.models.cid.recipes import CIDConfig
from posebench.preprocess import blank_batch, scaled_batches
from posebench.structures import COCO, Inference, Poses, Resize, box_corners
from tests.builders import make_batch, make_poses, make_sample

TINY = CIDConfig(backbone="hrnet_tiny", embedding=8)
NO_JITTER = [torch.zeros(2, 2, dtype=torch.int64)]


def two_people(x: float, y: float) -> Poses:
    """Return one person at (8, 8) and one at (x, y), in cells, every joint on one point."""
    keypoints = torch.tensor([[8.0, 8.0], [x, y]], dtype=torch.float64)[:, None].expand(2, 17, 2)
    boxes = torch.tensor([[4.0, 4.0, 8.0, 8.0], [x - 3, y - 3, 6.0, 6.0]], dtype=torch.float64)
    return Poses(keypoints, torch.full((2, 17), 2), boxes[:, 2:].prod(1), box_corners(boxes))


def everywhere(side: int) -> torch.Tensor:
    return torch.ones(1, 1, side, side, dtype=torch.bool)


def test_targets_peak_where_the_people_are() -> None:
    targets = build_targets([two_people(20, 24)], (32, 32), NO_JITTER, everywhere(32), min_area=0)
    assert targets.heatmaps[0, 0, 8, 8] == 1
    assert targets.heatmaps[0, 17, 24, 20] == 1
    # By increasing area: the second person is the smaller one.
    assert targets.people.tolist() == [[0, 24, 20], [0, 8, 8]]
    assert targets.instance_heatmaps[0, 3, 24, 20] == 1
    assert targets.instance_heatmaps[0, 3, 8, 8] == 0


def test_two_people_on_one_cell_are_one_instance() -> None:
    targets = build_targets([two_people(8, 8)], (32, 32), NO_JITTER, everywhere(32), min_area=0)
    assert targets.people.tolist() == [[0, 8, 8]]


def test_small_people_keep_their_keypoints_and_lose_their_centre() -> None:
    poses = two_people(20, 24)
    targets = build_targets([poses], (32, 32), NO_JITTER, everywhere(32), min_area=50)
    assert targets.people.tolist() == [[0, 8, 8]]
    assert targets.heatmaps[0, 0, 24, 20] == 1
    assert targets.heatmaps[0, 17, 24, 20] == 0


def test_jitter_moves_the_instance_and_not_its_centre_peak() -> None:
    jitter = [torch.tensor([[1, -1], [0, 0]])]
    targets = build_targets([two_people(20, 24)], (32, 32), jitter, everywhere(32), min_area=0)
    assert [0, 7, 9] in targets.people.tolist()
    assert targets.heatmaps[0, 17, 8, 8] == 1
    assert targets.heatmaps[0, 17, 7, 9] < 1


def test_jitter_that_leaves_the_map_is_dropped_whole() -> None:
    jitter = [torch.tensor([[0, 0], [1, -1]])]
    targets = build_targets([two_people(31, 24)], (32, 32), jitter, everywhere(32), min_area=0)
    assert [0, 24, 31] in targets.people.tolist()


def test_unlabelled_keypoints_are_masked() -> None:
    poses = two_people(20, 24)
    visibility = poses.visibility.clone()
    visibility[:, 5] = 0
    poses = replace(poses, visibility=visibility)
    targets = build_targets([poses], (32, 32), NO_JITTER, everywhere(32), min_area=0)
    assert not targets.instance_mask[:, 5].any()
    assert targets.instance_mask[:, 4].all()
    assert targets.heatmaps[0, 5].sum() == 0


def test_radius_of_a_square_box() -> None:
    # The tightest of CornerNet's three roots for a 10 x 10 box is the third as published:
    # a = 2.8, b = -28, c = -30; (b + sqrt(b^2 - 4 a c)) / 2.
    third = (-28 + math.sqrt(28**2 + 4 * 2.8 * 30)) / 2
    boxes = box_corners(torch.tensor([[0.0, 0.0, 10.0, 10.0]], dtype=torch.float64))
    assert gaussian_radius(boxes, (64, 64)).item() == math.floor(third)


def test_too_many_people_are_thinned_alike_for_one_seed() -> None:
    targets = build_targets(
        [make_poses(9, size=64)], (64, 64), [torch.zeros(9, 2)], everywhere(64), min_area=0
    )
    few = keep_people(targets, 4, seed=3)
    assert len(few.people) == len(few.instance_heatmaps) == len(few.instance_mask) == 4
    assert few.people.tolist() == keep_people(targets, 4, seed=3).people.tolist()
    assert all(person in targets.people.tolist() for person in few.people.tolist())


def test_contrastive_loss_of_equal_and_of_opposite_people() -> None:
    equal = torch.ones(2, 4)
    one_image = torch.zeros(2, dtype=torch.int64)
    assert contrastive_loss(equal, one_image).item() == pytest.approx(math.log(2), rel=1e-6)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert contrastive_loss(opposite, one_image).item() == pytest.approx(0, abs=1e-6)
    # People of different images are not compared.
    assert contrastive_loss(equal, torch.tensor([0, 1])).item() == 0
    assert contrastive_loss(torch.empty(0, 4), torch.empty(0, dtype=torch.int64)) == 0


def reference_decoupling(
    module: Decoupling, maps: torch.Tensor, features: torch.Tensor, people: torch.Tensor
) -> torch.Tensor:
    """The paper's Eqs. 7 and 9 to 12, one person at a time."""
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
    module = Decoupling(24, 5, TINY.embedding, spatial=spatial, channel=channel).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    shared = torch.randn(3, TINY.embedding, 9, 11, dtype=torch.float64)
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
    module = Decoupling(24, 5, TINY.embedding, spatial=spatial, channel=channel).double()
    shared = torch.randn(2, TINY.embedding, 9, 11, dtype=torch.float64)
    people = torch.tensor([[0, 2, 3], [0, 8, 10], [0, 0, 0]])  # the second image is empty
    features = torch.randn(3, 24, dtype=torch.float64)
    with torch.inference_mode():
        heatmaps = module(shared, features, people)
        expected = module.as_written(shared, features, people)
    torch.testing.assert_close(heatmaps, expected)


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


def test_a_person_lies_on_the_same_image_pixels_at_every_scale() -> None:
    model = CID(replace(TINY, min_person_area=0.0), COCO)
    inference = Inference(Resize(256), scales=(1.0, 0.5, 1.5))
    [(_, batches)] = scaled_batches([make_sample(1, size=256)], inference)
    first, *others = (
        Grid(b.geometry.to_image, (b.images.shape[2] // 4, b.images.shape[3] // 4), 4)
        for b in batches
    )
    ideal, *scaled = (profile_of(model.config).ideal_outputs(model, batch) for batch in batches)
    for grid, outputs in zip(others, scaled, strict=True):
        centre, expected = outputs.people, grid.cells_of(ideal.people, first)
        assert (centre - expected).abs().max() <= 1
        read = first.read(outputs.heatmaps, grid).flatten(2).argmax(2)
        peaks = ideal.heatmaps.flatten(2).argmax(2)
        width = first.size[1]
        assert (read % width - peaks % width).abs().max() <= 2  # a cell of half the scale is two
        assert (read // width - peaks // width).abs().max() <= 2


def test_recalibration_cannot_be_off_altogether() -> None:
    with pytest.raises(ValueError, match="both are off"):
        CIDConfig(spatial=False, channel=False)


@pytest.mark.parametrize("embedding", [8, 16, 64])
def test_embedding_width_is_a_field(embedding: int) -> None:
    model = CID(replace(TINY, embedding=embedding), COCO)
    assert model.reduce.weight.shape[0] == embedding
    assert model.decoupling.fuse.weight.shape == (embedding, 2 * embedding, 1, 1)


def test_contrastive_weight_zero_leaves_the_other_terms() -> None:
    batch = make_batch((2, 1))
    with_it, without = (CID(replace(TINY, contrastive_weight=w), COCO) for w in (1.0, 0.0))
    without.load_state_dict(with_it.state_dict())
    a, b = with_it.loss(batch), without.loss(batch)
    assert b["contrastive"] == 0
    torch.testing.assert_close(a["instance"], b["instance"])


def test_centre_window_grows_with_the_map() -> None:
    # Two peaks two cells apart survive a window of 3 and not one of 5.
    for side, count in ((100, 2), (220, 1)):
        centre_map = torch.zeros(1, side, side)
        centre_map[0, 50, 50], centre_map[0, 50, 52] = 0.9, 0.8
        people, scores = find_centres(centre_map, 3)
        assert len(people) == count
        assert people[0].tolist() == [0, 50, 50]
        assert scores[0] == pytest.approx((0.9 + 0.9 / 9) / 2)


def test_ties_and_borders_do_not_move_a_keypoint() -> None:
    heatmaps = torch.zeros(1, 3, 8, 8)
    heatmaps[0, 0, 4, 4] = 0.9
    heatmaps[0, 1, 0, 4] = 0.9
    heatmaps[0, 1, 0, 5] = 0.5  # right of a peak in the first row
    heatmaps[0, 2, 4, 4], heatmaps[0, 2, 5, 4] = 0.9, 0.5
    outputs = CIDOutputs(
        torch.zeros(1, 4, 8, 8), torch.zeros(1, 3), torch.tensor([0.5]), torch.zeros(1, 0), heatmaps
    )
    keypoints, scores = decode_instances(outputs, 3)
    assert keypoints[0].tolist() == [[18.0, 18.0], [19.0, 2.0], [18.0, 19.0]]
    assert scores[0, 0].item() == pytest.approx(0.5 * (0.9 + 0.9 / 9) / 2)


def test_ideal_outputs_leave_out_people_below_the_size_limit() -> None:
    sample = make_sample(1, size=40)
    batch = blank_batch(sample, Resize(64))
    with torch.device("meta"):
        strict, lenient = (CID(replace(TINY, min_person_area=a), COCO) for a in (1024.0, 0.0))
    assert len(profile_of(strict.config).ideal_outputs(strict, batch).people) == 0
    assert len(profile_of(lenient.config).ideal_outputs(lenient, batch).people) == 1
