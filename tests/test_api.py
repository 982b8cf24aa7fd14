"""The public Python API: names, images of every kind, and what is said of the others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import posebench
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine.checkpoint import save_weights
from posebench.errors import DataError, ModelError, UsageError
from posebench.models import RECIPES
from posebench.models.cid import CID
from posebench.recipe import override
from posebench.skeleton import COCO, CROWDPOSE
from posebench.structures import PosePredictions
from tests.builders import make_sample, write_coco

RECIPE = override(RECIPES["cid_tiny"], "inference.resize.short_side=64")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = RECIPE.build(COCO)
    # Centres everywhere, so that random weights predict people.
    assert isinstance(network, CID)
    assert network.keypoint_head.bias is not None
    torch.nn.init.constant_(network.keypoint_head.bias, 0.0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_weights(path, network, RECIPE, COCO, {"dataset": "coco"})
    return path


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> posebench.Model:
    return posebench.load_model(checkpoint, device="cpu")


@pytest.fixture
def picture() -> Any:
    return make_sample(2, size=96).image


def same(a: PosePredictions, b: PosePredictions) -> bool:
    return torch.equal(a.keypoints, b.keypoints) and torch.equal(a.scores, b.scores)


def test_the_face_has_every_name_that_it_lists() -> None:
    assert all(hasattr(posebench, name) for name in posebench.__all__)
    assert dir(posebench) == sorted(posebench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_modle'"):
        posebench.load_modle  # noqa: B018


def test_models_are_listed_by_pattern() -> None:
    assert posebench.list_models() == list(RECIPES)
    assert posebench.list_models("cid_*crowdpose") == [
        "cid_hrnet_w32_crowdpose", "cid_hrnet_w48_crowdpose",
    ]  # fmt: skip


def test_an_image_may_be_an_array_a_path_or_of_pillow(
    model: posebench.Model, picture: Any, tmp_path: Path
) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(picture).save(path)
    expected = model.predict(picture)
    assert len(expected) > 0
    assert expected.skeleton is COCO
    for image in (path, str(path), Image.open(path), np.asfortranarray(picture)):
        assert same(model.predict(image), expected)
    grey = Image.fromarray(picture[..., 0])
    assert same(model.predict(grey), model.predict(np.dstack([picture[..., 0]] * 3)))


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_several_images_give_a_list(model: posebench.Model, picture: Any, batch_size: int) -> None:
    images = [picture, picture[:, :64], picture[::-1]]
    several = model.predict(iter(images), batch_size=batch_size)
    assert len(several) == 3
    for people, image in zip(several, images, strict=True):
        alone = model.predict(image)
        torch.testing.assert_close(people.keypoints, alone.keypoints, rtol=1e-4, atol=1e-2)
    assert model.predict([]) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 array of shape \(4, 4, 3\).*astype"),
        (np.zeros((4, 4), np.uint8), "grey image"),
        (np.zeros((4, 4, 4), np.uint8), "alpha channel"),
        (np.zeros((3, 4, 4), np.uint8), "channels last"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"list\(images\)"),
        (np.zeros((0, 4, 3), np.uint8), "has pixels"),
        (torch.zeros(3, 4, 4), r"tensor of shape \(3, 4, 4\).*permute"),
        (7, "found int"),
        (None, "found NoneType"),
        ([7], "found int"),
        ("nowhere.jpg", "nowhere.jpg is not there"),
    ],
)
def test_anything_else_gets_a_sentence(model: posebench.Model, value: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        model.predict(value)


def test_a_model_is_loaded_as_asked(checkpoint: Path, picture: Any) -> None:
    model = posebench.load_model(
        checkpoint, device="cpu", precision="bf16", flip=False, scales=(0.5, 1.0)
    )
    assert (model.inference.flip, model.inference.scales) == (False, (0.5, 1.0))
    assert next(model.fast_network.parameters()).dtype == torch.bfloat16
    assert model.predict(picture).keypoints.shape[1:] == (17, 2)
    assert "cid_tiny from" in repr(model) and "17 keypoints (coco)" in repr(model)
    assert next(model.network.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"model": "nothing"}, ModelError, "nothing"),
        ({"precision": "fp8"}, UsageError, "fp32"),
        ({"device": "tpu"}, UsageError, "tpu"),
        ({"scales": ()}, UsageError, "[Ss]cales"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    checkpoint: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        posebench.load_model(**{"model": checkpoint, "device": "cpu", **options})


def test_people_as_a_table(model: posebench.Model, picture: Any) -> None:
    people = model.predict(picture)
    table = people.to_dataframe()
    assert list(table.columns) == ["person", "score", "keypoint", "x", "y", "keypoint_score"]
    assert len(table) == 17 * len(people)
    own = table[(table["person"] == 1) & (table["keypoint"] == "left_wrist")].iloc[0]
    wrist = COCO.keypoints.index("left_wrist")
    assert [own["x"], own["y"]] == people.keypoints[1, wrist].tolist()
    assert own["score"] == people.scores[1].item()
    assert own["keypoint_score"] == people.keypoint_scores[1, wrist].item()
    assert replace(people, skeleton=None).to_dataframe()["keypoint"].tolist()[:3] == [0, 1, 2]
    assert len(people[:0].to_dataframe()) == 0


def test_people_in_cocos_format(model: posebench.Model, picture: Any) -> None:
    people = model.predict(picture)
    results = people.to_coco(42)
    assert json.loads(json.dumps(results)) == results
    assert {result["image_id"] for result in results} == {42}
    assert people[:0].to_coco(1) == []


def test_drawing_needs_a_skeleton(model: posebench.Model, picture: Any) -> None:
    people = model.predict(picture)
    drawn = posebench.draw(picture, people, min_score=0.0)
    assert drawn.shape == picture.shape and (drawn != picture).any()
    bare = replace(people, skeleton=None)
    assert (posebench.draw(picture, bare, skeleton=COCO, min_score=0.0) == drawn).all()
    with pytest.raises(UsageError, match=r"skeleton=model\.skeleton"):
        posebench.draw(picture, bare)


def test_drawing_leaves_out_people_below_the_score_of_their_method(
    model: posebench.Model, picture: Any
) -> None:
    people = model.predict(picture)
    limit = model.recipe.draw_score
    assert people.draw_score == limit == people[:1].draw_score
    scores = torch.full_like(people.scores, limit - 1e-3)
    scores[0] = limit + 1e-3
    scored = replace(people, scores=scores)
    one = posebench.draw(picture, scored[:1], min_score=0.0)
    assert (one != picture).any()
    assert (posebench.draw(picture, scored) == one).all()
    # Without a method it is 0.1.
    bare = replace(scored, draw_score=None, scores=scores + (0.1 - limit))
    assert (posebench.draw(picture, bare)[..., 0] != picture[..., 0]).any()
    assert (posebench.draw(picture, bare[1:]) == picture).all()


def test_a_model_its_checkpoint_and_its_predictions_score_alike(
    model: posebench.Model, checkpoint: Path, tmp_path: Path
) -> None:
    write_coco(tmp_path, (1, 2), "val")
    dataset = posebench.open_dataset("coco", data_root=tmp_path)
    by_model = posebench.evaluate(model, dataset, device="cpu", runs=tmp_path / "runs")
    by_name = posebench.evaluate(checkpoint, data_root=tmp_path, device="cpu")
    assert by_name.metrics == by_model.metrics
    assert by_name.folder is None and by_model.folder is not None
    by_file = posebench.evaluate(predictions=by_model.folder / "predictions.json", dataset=dataset)
    assert by_file.metrics == by_model.metrics
    assert set(by_model.rows["metric"]) == set(by_model.metrics)
    with pytest.raises(UsageError, match="no checkpoint"):
        by_name.load_model()


def test_a_dataset_of_other_keypoints_is_refused(model: posebench.Model) -> None:
    with pytest.raises(ModelError, match="14 keypoints"):
        posebench.evaluate(model, SyntheticCrowds(CROWDPOSE, "val", length=2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "one thing to score"),
        ({"model": "x", "predictions": "y"}, "one thing to score"),
        ({"model": "cid", "dataset": "cocoo", "oracle": True}, "Did you mean coco"),
        ({"predictions": "y"}, "dataset"),
        ({"model": "cid", "oracle": True, "settings": {"nms": 1}}, "nms"),
    ],
)
def test_what_cannot_be_scored_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        posebench.evaluate(**options)


def test_fields_of_a_training_are_checked_before_anything_is_opened() -> None:
    for options, said in (
        ({"epoch": 3}, "epochs"),
        ({"lr": "fast"}, "lr"),
        ({"settings": ["augment.sise=64"]}, "size"),
        ({"precision": "fp8"}, "fp32"),
    ):
        with pytest.raises(UsageError, match=said):
            posebench.train("cid", "coco", data_root="nowhere", **options)
