"""How the parity tests find a case's network and layer, and how they compare.

The first tests are of the functions alone. Then made-up cases, whose expected values come from our
own networks, run through the tests of the methods: they show which network and layer a case is
compared with, and how closely, not that our networks are right.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.engine.weights import convert_published
from posebench.models.base import PoseModel
from posebench.models.cid.recipes import CIDConfig
from posebench.models.group_pose.decoder import DecoderLayer
from posebench.models.group_pose.model import GroupPose
from posebench.models.higher_hrnet.recipes import HigherHRNetConfig
from posebench.skeleton import CROWDPOSE
from tests.parity import fixtures, test_cid, test_group_pose, test_higher_hrnet, test_posedet
from tests.parity.compare import assert_close
from tests.parity.device import read
from tests.parity.fixtures import (
    Shape,
    cases,
    find_in_sets,
    first_64,
    key_file,
    parity_roots,
    stored_tensors,
)
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


# -------------------------------------------------------------------------------- made-up cases


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the empty folder of the set that is tested."""
    monkeypatch.setenv("POSEBENCH_PARITY", str(tmp_path))
    return tmp_path


def save(path: Path, case: Mapping[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in case.items()}
    np.savez(path, **arrays)
    return path


def save_keys(path: Path, model: PoseModel) -> Path:
    """Write the key file of one of our networks."""
    published = {ours: theirs for theirs, ours in model.published_names.items()}
    state = convert_published(model.state_dict(), published)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({name: list(value.shape) for name, value in state.items()}))
    return path


def cid_step() -> dict[str, Any]:
    """Return what a training step of CID takes: a small image with two people of CrowdPose."""
    numbers = np.random.default_rng(1)
    people = np.array([[3, 4], [9, 12]])
    heatmaps = 0.9 * numbers.random((15, 16, 16))
    heatmaps[-1, people[:, 0], people[:, 1]] = 1
    own = 0.9 * numbers.random((2, 14, 16, 16))
    own[[0, 1], :, people[:, 0], people[:, 1]] = 1
    return {
        "weight_gain": 0.5,
        "batch_size": 1,
        "image_0": numbers.standard_normal((3, 64, 64)),
        "multi_heatmap_0": heatmaps,
        "multi_mask_0": np.ones((1, 16, 16)),
        "instance_coord_0": people,
        "instance_heatmap_0": own,
        "instance_mask_0": np.ones((2, 14, 1, 1)),
    }


def test_a_step_of_w48_without_a_width_in_its_name(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two key files beside the case, W48's is used, and where that is missing, another set's."""
    with torch.device("meta"):
        wide, narrow = (
            CIDConfig(f"hrnet_w{width}", embedding=width).build(CROWDPOSE) for width in (48, 32)
        )
    keys = save_keys(root / "cid" / "w48_crowdpose.keys.json", wide)
    save_keys(root / "cid" / "w32_crowdpose.keys.json", narrow)
    case = cid_step()
    path = root / "cid" / "loss_train_crowdpose.npz"
    published = reference_state_dict(keys, case["weight_gain"])
    model = test_cid.new_model(published)
    model.load_state_dict(convert_published(published, model.published_names))
    step = test_cid.train_step(model, case)
    stored = {n: v for n, v in step.items() if not n.startswith("grad/backbone.stage")}
    save(path, case | stored)
    test_cid.test_training_step(path)

    other = tmp_path_factory.mktemp("other") / "cid"
    other.mkdir()
    keys.rename(other / keys.name)
    with pytest.raises(FileNotFoundError, match=r"the network of loss_train_crowdpose\.npz"):
        test_cid.test_training_step(path)
    roots = [root, other.parent, *parity_roots()[1:]]
    monkeypatch.setattr(fixtures, "parity_roots", lambda: roots)
    assert key_file(path, stored_tensors(np.load(path))) == other / keys.name


@pytest.mark.parametrize("width", [32, 48])
def test_a_step_of_higher_hrnet_without_a_width_in_its_name(root: Path, width: int) -> None:
    folder = root / "higherhrnet"
    for other in (32, 48):
        with torch.device("meta"):
            model = HigherHRNetConfig(f"hrnet_w{other}").build(CROWDPOSE)
        save_keys(folder / f"w{other}_crowdpose.keys.json", model)
    case = {
        "weight_gain": 0.5,
        "grad/final_layers.0.weight": np.zeros((28, width, 1, 1)),
        # The README: of a large gradient, the first 8 rows.
        "grad/stage4.0.branches.2.0.conv1.weight": np.zeros((8, 4 * width, 3, 3)),
    }
    path = save(folder / "loss_train_crowdpose.npz", case)
    loaded = test_higher_hrnet.load_model(path, np.load(path))
    assert loaded.config.backbone == f"hrnet_w{width}"


def test_a_folder_without_key_files(root: Path) -> None:
    original = find_in_sets("grouppose/msdeform_attn.npz")
    path = root / "grouppose" / "msdeform_attn_renamed.npz"
    path.parent.mkdir()
    shutil.copy(original, path)
    for kind in ("ref2d", "refpose"):
        test_group_pose.test_deformable_attention(path, kind)


def group_pose() -> GroupPose:
    return test_group_pose.load_model(find_in_sets("grouppose/resnet50_coco17.keys.json"))


@pytest.mark.parametrize(
    ("kind", "part"), [("ref2d", "encoder_layer"), ("refpose", "decoder_layer")]
)
def test_attention_of_another_layer(root: Path, kind: str, part: str) -> None:
    layers = {"ref2d": group_pose().encoder.layers, "refpose": group_pose().decoder}[kind]
    attention: Any = layers[1].self_attn if kind == "ref2d" else layers[1].cross_attn
    case = read(find_in_sets("grouppose/msdeform_attn.npz"))
    case |= test_group_pose.attend(attention, case, kind)
    path = root / "grouppose" / "msdeform_attn_other.npz"
    save(path, {**case, part: 1})
    test_group_pose.test_deformable_attention(path, kind)
    # Without the number, the case is about layer 0.
    save(path, case)
    with pytest.raises(AssertionError, match="off by"):
        test_group_pose.test_deformable_attention(path, kind)


def test_decoder_layer_of_another_number(root: Path) -> None:
    attention = read(find_in_sets("grouppose/msdeform_attn.npz"))
    references = attention["refpose_reference_points"].transpose(0, 1)  # (N, B, L, 2 T)
    torch.manual_seed(1)
    case = {
        "tgt": torch.randn(*references.shape[:2], references.shape[-1] // 2, 256),
        "query_pos": torch.randn(*references.shape[:2], references.shape[-1] // 2 - 1, 256),
        "memory": attention["memory"].transpose(0, 1),
        "padding_mask": attention["padding_mask"],
        "reference_points": references,
        "spatial_shapes": attention["spatial_shapes"],
    }
    layer = group_pose().decoder[1]
    assert isinstance(layer, DecoderLayer)
    case |= test_group_pose.decode_layer(layer, case)
    path = root / "grouppose" / "decoder_layer_other.npz"
    save(path, {**case, "decoder_layer": 1})
    test_group_pose.test_decoder_layer(path)
    for number in ({}, {"decoder_layer": 2}):
        save(path, {**case, **number})
        with pytest.raises(AssertionError, match="off by"):
            test_group_pose.test_decoder_layer(path)


def test_posedet_with_values_of_millions(root: Path) -> None:
    """With twice the weights, DLA-34's maps reach 3e6 at stride 16 and 2e7 at stride 32."""
    keys = find_in_sets("posedet/dla34_crowdpose15.keys.json")
    case: dict[str, Any] = {"weight_gain": 2.0}
    published = reference_state_dict(keys, case["weight_gain"])
    model = test_posedet.new_model(published)
    model.load_state_dict(test_posedet.converted(published))
    torch.manual_seed(1)
    case["images"] = torch.randn(1, 3, 64, 64)
    maps, outputs = test_posedet.forward(model.eval(), case["images"])
    for name, levels in maps.items():
        suffix = "" if name in ("cls", "offset_init", "offset_refine", "heatmap") else "_slice"
        case |= {f"{name}_{level}{suffix}": values for level, values in enumerate(levels)}
    case["img_shape_0"], case["scale_factor_0"] = (64, 64, 3), np.ones(4)
    [people] = model.decode(outputs, test_posedet.geometry_of([(64, 64)], np.ones((1, 4))))
    poses = torch.nn.functional.pad(people.keypoints, (0, 1, 0, 1))  # visibility; the torso
    case["det_poses_0"] = torch.cat([poses.flatten(1), people.scores[:, None]], 1)
    path = root / "posedet" / "forward_dla34_crowdpose15_gain2.npz"

    maps_of_stride_16 = case["backbone_2_slice"]
    largest = maps_of_stride_16.abs().max()
    assert largest > 1e6
    # Another program's float32 differs by about a millionth of the largest value.
    save(path, case | {"backbone_2_slice": maps_of_stride_16 + 1e-6 * largest})
    test_posedet.test_forward(path)
    save(path, case | {"backbone_2_slice": maps_of_stride_16 + 1e-4 * largest})
    with pytest.raises(AssertionError, match="off by"):
        test_posedet.test_forward(path)
