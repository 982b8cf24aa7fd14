"""PifPaf's fields and decoder against the authors' numbers, case by case of the fixture folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from posebench.models.pifpaf import decoding
from posebench.models.pifpaf.cells import LEAST_CONFIDENCE, NEIGHBOURS, AccumulatedMap, Planes
from posebench.models.pifpaf.decoding import SEED_SCORE, decode_fields
from posebench.models.pifpaf.targets import (
    FieldLayout,
    field_layout,
    field_people,
    field_size,
    keypoint_fields,
    limb_fields,
)
from posebench.skeleton import MPII, SKELETONS
from posebench.structures import Poses, box_corners
from tests.parity.compare import assert_close, tolerance
from tests.parity.fixtures import cases, find_in_sets

# The README: an independent program has the encoder's numbers to 5e-7, with the same NaN. Above 20
# cells, more than in any of its cases, the tolerance is the same share of the largest value:
# float32 has steps of 1.9e-6 there.
ENCODER_TOLERANCE = {"absolute": 1e-6, "relative": 5e-8}
# And the decoder's to 1.5e-4 px, as they are stored with four decimals; scores with seven. Above
# 1000 px, the same share of the largest coordinate: the numbers were computed in float32.
PIXEL_TOLERANCE = {"absolute": 1.5e-4, "relative": 1.5e-7}
SCORE_TOLERANCE = 2e-5

# Ours has no spread; an encoder's layout names what its fixture holds.
OURS = {
    "cif": ["confidence", "x_offset", "y_offset", "scale"],
    "caf": ["confidence", "x1", "y1", "x2", "y2", "scale1", "scale2"],
}


def read(name: str) -> Any:
    return [json.loads(path.read_text()) for path in cases("pifpaf", name)]


def layout_of(definition: dict[str, Any]) -> FieldLayout:
    weights = definition["score_weights"] or [1.0] * len(definition["keypoints"])
    return FieldLayout(
        limbs=tuple((first - 1, second - 1) for first, second in definition["skeleton_1based"]),
        sigmas=tuple(definition["sigmas"]),
        upright=tuple((x, y) for x, y, _ in definition["upright_pose_xyv"]),
        score_weights=tuple(weights),
    )


LAYOUTS = {
    name: layout_of(definition)
    for name, definition in json.loads(find_in_sets("pifpaf/definitions.json").read_text()).items()
}


def named(folder: str) -> list[Any]:
    return [
        pytest.param(folder, name, id=name)
        for content in read(f"{folder}/cases.json")
        for name in content["cases"]
        if is_stored(folder, name)
    ]


def is_stored(folder: str, name: str) -> bool:
    """Return whether a case's fields are here; a subset has all cases' descriptions."""
    return bool(cases("pifpaf", f"{folder}/{name}.npz"))


def stored(folder: str, name: str) -> Any:
    [path] = cases("pifpaf", f"{folder}/{name}.npz")
    return np.load(path)


# MPII's limbs and upright pose are ours: the authors have none.
PUBLISHED = [name for name in LAYOUTS if name in SKELETONS and name != MPII.name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_definitions(name: str) -> None:
    assert field_layout(SKELETONS[name]) == LAYOUTS[name]


def poses_of(annotations: list[dict[str, Any]]) -> Poses:
    def is_person(annotation: dict[str, Any]) -> bool:
        return not annotation["iscrowd"] and any(annotation["keypoints"][2::3])

    def corners(rows: list[dict[str, Any]]) -> torch.Tensor:
        boxes = torch.tensor([row["bbox"] for row in rows], dtype=torch.float64)
        return box_corners(boxes.view(-1, 4))

    people = [a for a in annotations if is_person(a)]
    rows = torch.tensor([a["keypoints"] for a in people], dtype=torch.float64)
    rows = rows.view(len(people), -1, 3)
    return Poses(
        keypoints=rows[..., :2],
        visibility=rows[..., 2].long(),
        area=torch.ones(len(people), dtype=torch.float64),
        boxes=corners(people),
        unlabelled=corners([a for a in annotations if not a["iscrowd"] and not is_person(a)]),
        crowds=corners([a for a in annotations if a["iscrowd"]]),
    )


@pytest.mark.parametrize(("folder", "name"), named("encoder"))
def test_encoder(folder: str, name: str) -> None:
    [content] = read(f"{folder}/cases.json")
    case, expected = content["cases"][name], stored(folder, name)
    layout, stride = LAYOUTS[case["dataset"]], case["stride"]
    people = field_people(
        poses_of(case["annotations"]), layout, stride, tuple(case["valid_area_xywh"])
    )
    size = field_size((case["image_height"], case["image_width"]), stride)
    found = {"cif": keypoint_fields(people, size), "caf": limb_fields(people, layout, size)}
    for kind, fields in found.items():
        components = [content[f"{kind}_components"].index(c) for c in OURS[kind]]
        wanted = expected[kind][:, components]
        allowed = tolerance(wanted, **ENCODER_TOLERANCE)
        np.testing.assert_allclose(fields.numpy(), wanted, rtol=0, atol=allowed)
        assert (fields[:, 0] == 1).sum() == case[f"{kind}_active_cells"]


# --------------------------------------------------------------------------------------- decoding


def fields_of(case: Any, components: dict[str, list[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the case's fields as ours are: without spread, offsets from the cell."""
    fields = []
    for kind, wanted in (
        ("cif", ["confidence", "x", "y", "scale"]),
        ("caf", ["confidence", "x1", "y1", "x2", "y2", "scale1", "scale2"]),
    ):
        chosen = case[kind][:, [components[kind].index(name) for name in wanted]]
        own = torch.from_numpy(chosen).double()
        own[:, 0] = own[:, 0].logit()
        for index, name in enumerate(wanted):
            if name[0] in "xy":
                length = own.shape[3 if name[0] == "x" else 2]
                cells = torch.arange(length, dtype=own.dtype)
                own[:, index] -= cells if name[0] == "x" else cells[:, None]
        fields.append(own)
    return fields[0], fields[1]


@pytest.mark.parametrize("content", read("decoder/cases.json"))
def test_settings(content: Any) -> None:
    """The cases were made with the constants of our decoder."""
    settings = content["settings"]
    assert {
        "cif_accumulation_confidence_threshold": LEAST_CONFIDENCE,
        "cif_accumulation_neighbors": NEIGHBOURS,
        "seed_threshold": decoding.SEED_SCORE,
        "caf_score_threshold": LEAST_CONFIDENCE,
        "keypoint_threshold": decoding.KEYPOINT_SCORE,
        "keypoint_threshold_rel": decoding.KEYPOINT_SHARE,
        "nms_suppression": decoding.OCCUPIED,
        "nms_instance_threshold": decoding.KEYPOINT_SCORE,
        "nms_keypoint_threshold": decoding.KEYPOINT_SCORE,
        "force_complete_caf_th": decoding.COMPLETING_CONFIDENCE,
    }.items() <= settings.items()


def decoder_cases() -> list[Any]:
    variants = {
        "poses": {},
        "poses_without_reverse_match": {"reverse_match": False},
        "poses_force_complete": {"complete": True},
    }
    return [
        pytest.param(name, key, options, id=f"{name}-{key}")
        for content in read("decoder/cases.json")
        for name, case in content["cases"].items()
        for key, options in variants.items()
        if key in case and is_stored("decoder", name)
    ]


def open_decoder_case(name: str) -> tuple[Any, Any, torch.Tensor, torch.Tensor]:
    [content] = read("decoder/cases.json")
    components = {kind: content[f"{kind}_components"] for kind in ("cif", "caf")}
    arrays = stored("decoder", name)
    return content["cases"][name], arrays, *fields_of(arrays, components)


@pytest.mark.parametrize(("name", "key", "options"), decoder_cases())
def test_decoder(name: str, key: str, options: Mapping[str, Any]) -> None:
    case, _, keypoints, limbs = open_decoder_case(name)
    layout = LAYOUTS[case["dataset"]]
    found = decode_fields(keypoints, limbs, layout, case["stride"], **options)
    expected = case[key]
    assert len(found.keypoints) == len(expected)
    for person, one in enumerate(expected):
        stored_pose = np.array(one["keypoints_xyv"]).reshape(-1, 3)
        ours = found.keypoints[person]
        assert_close(ours[:, :2], stored_pose[:, :2], **PIXEL_TOLERANCE)
        np.testing.assert_allclose(ours[:, 2], stored_pose[:, 2], rtol=0, atol=SCORE_TOLERANCE)
        assert_close(ours[:, 3], one["joint_scales"], **PIXEL_TOLERANCE)
        assert found.means[person] == pytest.approx(one["mean_confidence"], abs=SCORE_TOLERANCE)
        assert found.scores[person] == pytest.approx(one["annotation_score"], abs=SCORE_TOLERANCE)


MAPS = [
    path.stem for path in cases("pifpaf", "decoder/*.npz") if "cif_highres" in np.load(path).files
]


@pytest.mark.parametrize("name", MAPS)
def test_accumulated_map(name: str) -> None:
    case, arrays, keypoints, _ = open_decoder_case(name)
    expected = arrays["cif_highres"]
    planes = Planes.of([(keypoints, np.eye(2, 3))], case["stride"])
    found = planes.cells(SEED_SCORE)
    accumulated = AccumulatedMap.of(found, len(expected), expected.shape[1:], case["stride"])
    k, y, x = (place.ravel() for place in np.indices(expected.shape))
    ours = accumulated.at(k, x.astype(float), y.astype(float)).reshape(expected.shape)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=SCORE_TOLERANCE)
