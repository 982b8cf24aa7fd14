"""MMPose's checkpoints and its networks' outputs, case by case of the fixture folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.engine.torch_files import read_state_dict
from posebench.engine.weights import fit_published, import_published
from posebench.layers.affine import invert, resize_affine
from posebench.models import RECIPES
from posebench.models.cid.decoding import decode_instances
from posebench.models.cid.model import CID
from posebench.models.higher_hrnet.model import HigherHRNet
from posebench.recipe import Recipe, with_settings
from posebench.skeleton import COCO
from posebench.structures import Inference, Resize
from tests.parity import test_cid, test_higher_hrnet
from tests.parity.compare import assert_close
from tests.parity.device import placed, tensor
from tests.parity.fixtures import cases
from tests.parity.reference import reference_state_dict

RECIPE_OF = {
    "cid_w32_coco": "cid_hrnet_w32_coco",
    "cid_w48_coco": "cid_hrnet_w48_coco",
    "cid_w32_crowdpose": "cid_hrnet_w32_crowdpose",
    "higher_hrnet_w32_coco": "higher_hrnet_w32_coco",
    "higher_hrnet_w48_coco": "higher_hrnet_w48_640_coco",
    "higher_hrnet_w32_crowdpose": "higher_hrnet_w32_crowdpose",
    "ae_hrnet_w32_coco": "higher_hrnet_baseline_w32_coco",
}
RELEASES = {"mmpose0": "MMPose 0.x", "mmpose1": "MMPose 1.x"}


def network_of(keys: Path) -> tuple[str, Recipe]:
    """Return the generation and the recipe of a key file."""
    generation, _, network = keys.name.removesuffix(".keys.json").partition("_")
    return RELEASES[generation], RECIPES[RECIPE_OF[network]]


def key_file_of(case: Path) -> Path:
    """Return the key file with the longest name that the case's name contains."""
    fitting = [
        keys
        for keys in cases("mmpose", "*.keys.json")
        if keys.name.removesuffix(".keys.json") in case.name
    ]
    return max(fitting, key=lambda keys: len(keys.name))


@pytest.mark.parametrize("keys", cases("mmpose", "*.keys.json"), ids=lambda path: path.stem)
def test_every_tensor_has_its_place(keys: Path) -> None:
    generation, recipe = network_of(keys)
    shapes = json.loads(keys.read_text())
    with torch.device("meta"):
        published = {name: torch.empty(tuple(shape)) for name, shape in shapes.items()}
    fitting, weights, release = fit_published(published, recipe, keys.name)
    assert release == generation
    assert len(weights) == len(published)
    assert fitting.skeleton == recipe.skeleton


@pytest.mark.parametrize("path", cases("mmpose", "forward_*.npz"), ids=lambda path: path.stem)
def test_a_forward_pass_is_mmposes_own(path: Path, tmp_path: Path) -> None:
    """The file is written as MMPose lays it out, and imported as a user does it."""
    case = np.load(path)
    keys = key_file_of(path)
    published = reference_state_dict(keys, float(case["weight_gain"]))
    file = tmp_path / "published.pth"
    torch.save({"meta": {"epoch": 140}, "state_dict": published}, file)
    _, recipe = network_of(keys)
    model = placed(import_published(file, recipe, tmp_path / "own.safetensors").model())
    if isinstance(model, HigherHRNet):
        test_higher_hrnet.check_forward(model, case)
        return
    assert isinstance(model, CID)
    test_cid.check_forward(model, case)
    check_relative_coordinates(model, case)
    for flip in (False, True):
        check_detection(model, case, flip=flip)


def check_relative_coordinates(model: CID, case: Any) -> None:
    """Compare the two maps that enter the first person's mask."""
    stored = case["relative_coords"][0]
    y, x = case["given_coords"][0]
    rows, columns = np.indices(stored.shape[-2:])
    offset = model.config.cell_centre
    assert_close(stored[0], (x - columns - offset) / 32, absolute=1e-6)
    assert_close(stored[1], (y - rows - offset) / 32, absolute=1e-6)


def check_detection(model: CID, case: Any, *, flip: bool) -> None:
    """Compare who is detected, before suppression."""
    kind = "flip" if flip else "noflip"
    batch = test_cid.batch_of(tensor(case["image"]))
    with torch.inference_mode():
        outputs = model.merged_outputs([batch], Inference(Resize(64), flip=flip))
        keypoints, scores = decode_instances(
            outputs, model.config.centre_pool, strict_border=model.config.strict_border
        )
    people, centre_scores, keypoints, scores, maps = test_cid.without_empty_slots(
        outputs, keypoints, scores, outputs.instance_heatmaps
    )
    assert_close(centre_scores, case[f"{kind}_detected_center_scores"], absolute=1e-4)
    if f"{kind}_detected_poses" not in case:
        assert len(scores) == case[f"{kind}_detected_count"]
        return
    poses = case[f"{kind}_detected_poses"]
    assert_close(people[:, 1:], case[f"{kind}_detected_coords"])
    assert_close(scores, poses[..., 2], absolute=1e-4)
    assert_close(scores.mean(1), case[f"{kind}_detected_scores"], absolute=1e-4)
    # Rounding decides which of equal cells is the highest, and to which of equal neighbours a joint
    # moves.
    found, wanted = keypoints.numpy() / 4, poses[..., :2] / 4
    differing = (np.abs(found - wanted) > 1e-3 / 4).any(-1)
    for person, joint in np.argwhere(differing).tolist():
        scores_at = maps[person, joint].numpy()
        (x, y), (x2, y2) = (place[person, joint].astype(int) for place in (found, wanted))
        across = scores_at[y, max(x - 1, 0)] - scores_at[y, min(x + 1, scores_at.shape[1] - 1)]
        along = scores_at[max(y - 1, 0), x] - scores_at[min(y + 1, scores_at.shape[0] - 1), x]
        tied = (x, y) != (x2, y2) and abs(scores_at[y, x] - scores_at[y2, x2]) < 1e-6
        assert tied or min(abs(across), abs(along)) < 1e-6


@pytest.mark.parametrize("path", cases("mmpose", "resize_test*.json"), ids=lambda path: path.stem)
def test_test_images_get_mmposes_size_and_place(path: Path) -> None:
    generation = RELEASES[path.stem.rpartition("_")[2]]
    for name in ("cid_hrnet_w32_coco", "higher_hrnet_w32_coco"):
        with torch.device("meta"):
            model = RECIPES[name].build(COCO)
        (release,) = (own for own in model.other_releases if own.source == generation)
        resize = with_settings(RECIPES[name], release.settings).inference.resize
        for row in json.loads(path.read_text()):
            wanted = replace(resize, short_side=row["input_size"])
            assert isinstance(wanted, Resize)
            matrix, size = resize_affine((row["image_w"], row["image_h"]), wanted)
            assert size == (row["resized_w"], row["resized_h"])
            assert_close(matrix, row["matrix"], absolute=1e-4)
            assert_close(invert(matrix), row["inverse_matrix"], absolute=1e-4)


@pytest.mark.parametrize("path", cases("mmpose", "files/*.pth"), ids=lambda path: path.stem)
def test_files_are_read_without_what_they_name(path: Path) -> None:
    expected = json.loads(path.with_name("sums.json").read_text())[path.name]
    weights = read_state_dict(path)
    found = {name: float(value.double().sum()) for name, value in weights.items()}
    assert found == pytest.approx(expected, abs=1e-5)
