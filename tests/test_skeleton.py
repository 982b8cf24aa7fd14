"""Keypoint sets as data: names of any spelling, tables with mistakes, the built-in ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posebench.errors import DataError, UsageError
from posebench.skeleton import (
    COCO,
    CROWDPOSE,
    FURTHER_SKELETONS,
    SKELETONS,
    Skeleton,
    built_in_of,
    canonical_name,
    named_skeletons,
    pairs_by_name,
    read_skeleton,
    skeleton_from_table,
    skeleton_table,
)
from posebench.toml_tables import Table

COW: dict[str, Any] = {
    "keypoints": ["nose", "L_ear", "R_ear", "withers", "tail_base"],
    "limbs": [["nose", "L_ear"], ["nose", "R_ear"], ["nose", "withers"]],
    "sigmas": {"nose": 0.03, "default": 0.08},
}


def parsed(**changes: Any) -> Skeleton:
    table = {name: value for name, value in {**COW, **changes}.items() if value is not None}
    return skeleton_from_table(Table(table, "[skeleton] of cows.toml"), "cows")


def test_mirror_images_of_the_built_in_sets_swap_left_and_right() -> None:
    for skeleton in SKELETONS.values():
        for k, other in enumerate(skeleton.flip_index):
            name, mirrored = skeleton.keypoints[k], skeleton.keypoints[other]
            swapped = {"left": "right", "right": "left"}.get(name.split("_")[0])
            expected = f"{swapped}_{name.split('_', 1)[1]}" if swapped else name
            assert mirrored == expected


@pytest.mark.parametrize(
    "name",
    ["L_Eye", "left eye", "Left_eye", "eye_left", "leftEye", "LEye", "eyeL", "eye.L", "lefteye",
     "left-eye", "LEFT_EYE", "l.eye", "eyeLeft", "Left Eye"],
)  # fmt: skip
def test_a_side_is_found_in_any_spelling(name: str) -> None:
    other = {"L": "R", "l": "r", "Left": "Right", "left": "right", "LEFT": "RIGHT"}
    side = next(s for s in ("Left", "LEFT", "left", "L", "l") if s in name)
    # The part's own l is none: `l.eye` has its side in front, `eyeL` at the end.
    mirrored = name.replace(side, other[side], 1)
    assert pairs_by_name(("nose", mirrored, name)) == ((2, 1),)
    assert canonical_name(name) == canonical_name("left_eye")


@pytest.mark.parametrize("name", ["bright_spot", "L5", "head", "L", "shell", "Root of tail", "鼻"])
def test_other_names_have_no_side(name: str) -> None:
    assert pairs_by_name((name, "left_eye", "right_eye")) == ((1, 2),)


def test_without_known_pairs_nothing_is_mirrored_and_it_is_said_why() -> None:
    corners = parsed(keypoints=["p1", "p2", "p3"], limbs=None, sigmas=0.05)
    assert corners.pairs is None
    with pytest.raises(UsageError, match="names do not say which are left and right"):
        corners.flip_index  # noqa: B018
    alone = parsed(keypoints=["nose", "left_eye"], limbs=None, sigmas=0.05)
    with pytest.raises(UsageError, match="'left_eye' has no counterpart on the right"):
        alone.flip_index  # noqa: B018
    assert parsed(pairs=[]).flip_index == (0, 1, 2, 3, 4)
    assert parsed(mirror=False).pairs is None


def test_a_table_has_what_it_says() -> None:
    cow = parsed()
    assert cow == Skeleton(
        "cows", tuple(COW["keypoints"]), ((0, 1), (0, 2), (0, 3)),
        (0.03, 0.08, 0.08, 0.08, 0.08), pairs=((1, 2),),
    )  # fmt: skip
    assert cow.flip_index == (0, 2, 1, 3, 4)
    assert cow.sigmas_from == "1 given, 4 default 0.08"


def test_sigmas_are_those_of_a_built_in_name_or_005() -> None:
    mixed = parsed(keypoints=["LKnee", "RKnee", "Neck", "tail"], limbs=None, sigmas=None)
    assert mixed.sigmas == (0.087, 0.087, 0.079, 0.05)
    assert mixed.sigmas_from == "2 of COCO, 1 of CrowdPose, 1 default 0.05"
    listed = parsed(sigmas=[0.1, 0.2, 0.3, 0.4, 0.45])
    assert (listed.sigmas, listed.sigmas_from) == ((0.1, 0.2, 0.3, 0.4, 0.45), "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0.05}, "no key 'sigma'.* Did you mean sigmas"),
        ({"sigmas": 0.79}, r"numbers above 0 and below 0\.5 as sigmas .*cows.toml.*0\.79"),
        ({"sigmas": [0.1, 0.1]}, "5 numbers, one per keypoint"),
        ({"sigmas": {"Nose": 0.1}}, "'Nose' is none of nose, L_ear"),
        ({"limbs": [["nose", "tail"]]}, "names of keypoints as limbs .* 'tail' is none of"),
        ({"limbs": [["nose"]]}, "pairs of names"),
        ({"limbs": [["nose", "nose"]]}, "two different keypoints"),
        ({"pairs": [["L_ear", "R_ear"], ["L_ear", "nose"]]}, "one is in two"),
        ({"pairs": [[1, 2]]}, "pairs of names"),
        ({"keypoints": ["a", "a"]}, "'a' 2 times"),
        ({"keypoints": ["a", " "]}, "an empty one"),
        ({"keypoints": []}, "there are none"),
        ({"keypoints": None}, "Expected 'keypoints' in .*Add it"),
        ({"keypoints": [1, 2]}, "a list of texts as keypoints"),
        ({"mirror": "no"}, "true or false as mirror"),
        ({"not_counted": ["neck"]}, "'neck' is none of"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parsed(**changes)


@pytest.mark.parametrize("skeleton", [*SKELETONS.values(), parsed(), parsed(mirror=False)])
def test_a_skeleton_survives_its_table(skeleton: Skeleton) -> None:
    table = Table(skeleton_table(skeleton), "a checkpoint")
    assert skeleton_from_table(table, skeleton.name) == skeleton


def test_a_skeleton_is_named_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "dots.toml"
    path.write_text('keypoints = ["a", "b"]\nsigmas = 0.1\npairs = []\n')
    assert read_skeleton(path) == Skeleton("dots", ("a", "b"), (), (0.1, 0.1), pairs=())
    path.write_text("keypoints = [")
    with pytest.raises(DataError, match="a skeleton in TOML at "):
        read_skeleton(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_skeleton(tmp_path / "none.toml")


def test_where_sigmas_come_from_makes_no_other_skeleton() -> None:
    assert replace(COCO, sigmas_from="elsewhere") == COCO != CROWDPOSE


@pytest.mark.parametrize(
    ("name", "count", "pairs", "first", "last"),
    [
        ("aic", 14, 6, 0.01388152, 0.01236173),
        ("ap10k", 17, 7, 0.025, 0.089),
        ("halpe26", 26, 11, 0.026, 0.089),
        ("human_art_21", 21, 10, 0.026, 0.089),
    ],
)
def test_skeletons_of_further_public_datasets_are_whole(
    name: str, count: int, pairs: int, first: float, last: float
) -> None:
    skeleton = named_skeletons()[name]
    assert name in FURTHER_SKELETONS
    assert (len(skeleton), skeleton.sigmas[0], skeleton.sigmas[-1]) == (count, first, last)
    assert skeleton.sigmas_from.split()[0].strip(":") in ("official", "copied", "guessed")
    assert skeleton.pairs is not None
    assert len(skeleton.pairs) == pairs
    # What the names say themselves.
    assert {frozenset(pair) for pair in skeleton.pairs} == {
        frozenset(pair) for pair in pairs_by_name(skeleton.keypoints) or ()
    }
    reached = {0}
    for _ in skeleton.keypoints:
        for ends in skeleton.limbs:
            reached |= set(ends) if reached & set(ends) else set()
    assert len(reached) == (count if name != "human_art_21" else 5)  # COCO's face is apart


def test_names_in_the_order_of_a_built_in_set_are_that_set() -> None:
    aic = named_skeletons()["aic"]
    assert {*map(canonical_name, aic.keypoints)} == {*map(canonical_name, CROWDPOSE.keypoints)}
    assert built_in_of(aic.keypoints) is aic
    assert built_in_of(CROWDPOSE.keypoints) is CROWDPOSE
    assert built_in_of(CROWDPOSE.keypoints[::-1]) is CROWDPOSE
    assert built_in_of(("nose", "tail")) is None


def test_where_sigmas_come_from_can_be_said() -> None:
    said = parsed(sigmas=0.1, sigmas_from="measured by two annotators")
    assert said.sigmas_from == "measured by two annotators"
    again = skeleton_from_table(Table(skeleton_table(said), "a checkpoint"), "cows")
    assert again.sigmas_from == said.sigmas_from
    assert parsed(sigmas={}).sigmas_from == "3 of COCO, 2 default 0.05"
