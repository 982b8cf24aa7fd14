"""How the parity tests find a case's network, and how they compare."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.compare import assert_close
from tests.parity.fixtures import Shape, cases, find_in_sets, first_64, key_file
from tests.parity.reference import reference_state_dict

NETWORKS: dict[str, dict[str, Shape]] = {
    "w32_coco": {"stem": (64, 3, 3, 3), "stage": (32, 16), "head": (17, 32)},
    "w48_coco": {"stem": (64, 3, 3, 3), "stage": (48, 24), "head": (17, 48)},
    "w32_crowdpose": {"stem": (64, 3, 3, 3), "stage": (32, 16), "head": (14, 32)},
    "resnet50_coco17": {"stem": (64, 3, 7, 7), "queries": (17, 256)},
    "swin_t_coco17": {"patches": (96, 3, 4, 4), "queries": (17, 256)},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the empty folder of a method in the set that is compared with."""
    own = tmp_path / "method"
    own.mkdir()
    monkeypatch.setenv("POSEBENCH_PARITY", str(tmp_path))
    return own


def write_keys(folder: Path, *networks: str) -> None:
    for name in networks:
        (folder / f"{name}.keys.json").write_text(json.dumps(NETWORKS[name]))


@pytest.mark.parametrize("width", [32, 48])
def test_shapes_decide_where_the_name_holds_no_width(folder: Path, width: int) -> None:
    write_keys(folder, "w32_coco", "w32_crowdpose", "w48_coco")
    case = folder / "loss_train_coco.npz"
    assert key_file(case, {"head": (17, width)}).name == f"w{width}_coco.keys.json"


def test_shapes_count_for_more_than_the_name(folder: Path) -> None:
    write_keys(folder, "w32_coco", "w48_coco")
    case = folder / "forward_w32_coco.npz"
    assert key_file(case, {"head": (17, 48)}).name == "w48_coco.keys.json"


def test_a_name_decides_what_shapes_leave_open(folder: Path) -> None:
    write_keys(folder, "resnet50_coco17", "swin_t_coco17")
    known: dict[str, Shape | None] = {"queries": (17, 256)}
    for case, keys in (
        ("forward_r50_coco17_single_encoder", "resnet50_coco17"),
        ("forward_swin_t_coco17_padded_encoder", "swin_t_coco17"),
    ):
        assert key_file(folder / f"{case}.npz", known).name == f"{keys}.keys.json"


def test_a_tensor_of_any_shape_decides_by_being_there(folder: Path) -> None:
    write_keys(folder, "resnet50_coco17", "swin_t_coco17")
    found = key_file(folder / "loss_coco17.npz", {"queries": (17, 256), "patches": None})
    assert found.name == "swin_t_coco17.keys.json"


def test_gradients_are_compared_as_they_are_stored(folder: Path) -> None:
    wide = {"w32_wide": {"stage": (32, 16, 3, 3)}, "w96_wide": {"stage": (96, 16, 3, 3)}}
    for name, shapes in wide.items():
        (folder / f"{name}.keys.json").write_text(json.dumps(shapes))
    case = folder / "loss_full_model.npz"
    assert key_file(case, {"stage": (64, 64)}, first_64).name == "w96_wide.keys.json"
    assert first_64((256,)) == (256,)


def test_a_set_borrows_the_key_file_it_lacks(folder: Path) -> None:
    """CID's for CrowdPose is in every checkout."""
    own = folder.parent / "cid"
    own.mkdir()
    case = own / "loss_train_crowdpose.npz"
    known: dict[str, Shape | None] = {"iia.keypoint_center_conv.weight": (15, 480, 1, 1)}
    (own / "w48_crowdpose.keys.json").write_text('{"iia.keypoint_center_conv.weight": [15, 720]}')
    borrowed = key_file(case, known)
    assert borrowed.name == "w32_crowdpose.keys.json"
    assert borrowed.parent != own
    (own / borrowed.name).write_text(borrowed.read_text())
    assert key_file(case, known).parent == own
    assert not cases("cid", "*.npz")


def test_a_network_without_a_key_file_is_an_error(folder: Path) -> None:
    write_keys(folder, "w32_coco")
    with pytest.raises(FileNotFoundError, match=r"describes the network of loss_train_coco\.npz"):
        key_file(folder / "loss_train_coco.npz", {"head": (17, 40)})


def test_weights_are_those_of_the_set_in_use(folder: Path) -> None:
    write_keys(folder, "w32_coco")
    keys = folder / "w32_coco.keys.json"
    borrowed = reference_state_dict(keys, 1.0)
    assert {name: tuple(value.shape) for name, value in borrowed.items()} == NETWORKS["w32_coco"]
    own = folder.parent / "reference_weights.py"
    own.write_text("def reference_state_dict(keys, gain): return {}")
    assert reference_state_dict(keys, 1.0) == {}
    assert find_in_sets("reference_weights.py") == own


@pytest.mark.usefixtures("folder")
def test_a_file_that_no_set_has_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no definitions\.json in"):
        find_in_sets("definitions.json")


# -------------------------------------------------------------------------------------- comparing


def test_ordinary_values_keep_the_absolute_tolerance() -> None:
    expected = torch.tensor([1.0, -5.0, 10.0])
    assert_close(expected + 1.9e-4, expected, absolute=2e-4, relative=2e-5)
    with pytest.raises(AssertionError, match=r"allowed: 0\.0002"):
        assert_close(expected + 2.1e-4, expected, absolute=2e-4, relative=2e-5)


def test_large_values_are_compared_by_the_largest() -> None:
    expected = np.array([1.0, -3e6])
    assert_close(expected + 50, expected, absolute=2e-4, relative=2e-5)
    with pytest.raises(AssertionError, match="allowed: 60"):
        assert_close(expected + 70, expected, absolute=2e-4, relative=2e-5)


@pytest.mark.parametrize("wrong", [[1.0], [1.0, np.nan]])
def test_another_shape_and_nan_are_never_close(wrong: list[float]) -> None:
    with pytest.raises(AssertionError):
        assert_close(wrong, [1.0, 2.0], absolute=1e9)
