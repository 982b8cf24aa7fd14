"""Predictors: functions that take part in evaluations and pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import posebench
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import find_predictor
from posebench.engine.predictor import PREDICTORS, add_predictors
from posebench.errors import ModelError, UsageError
from posebench.skeleton import COCO, CROWDPOSE
from posebench.structures import Sample
from posebench.viz import draw_sample


@pytest.fixture(scope="module")
def crowds() -> Any:
    return posebench.open_dataset("synthetic", "val", limit=3)


@pytest.fixture(scope="module")
def model() -> posebench.Model:
    return posebench.load_model("cid_tiny", device="cpu")


def wrapped(model: posebench.Model, *, worst_first: bool = False) -> posebench.Predictor:
    def function(images: list[Any]) -> list[Any]:
        poses = []
        for people in model.predict(images):
            if worst_first:
                people = people[torch.arange(len(people)).flip(0)]
            triples = torch.cat([people.keypoints, people.keypoint_scores[..., None]], 2)
            poses.append((triples, people.scores))  # tensors
        return poses

    return posebench.Predictor(function, name="wrapped")


def constant(value: Any, **fields: Any) -> posebench.Predictor:
    return posebench.Predictor(lambda images: value, name="constant", **fields)


def test_a_wrapped_model_scores_and_draws_like_the_model(
    model: posebench.Model, crowds: Any
) -> None:
    own = posebench.evaluate(model, crowds)
    run = posebench.evaluate(wrapped(model, worst_first=True), crowds, batch_size=2)
    assert run.metrics == own.metrics and run.metrics["AP"] > 0
    assert set(run.rows["recipe"]) == {"wrapped"} and set(run.rows["method"]) == {""}
    assert run.rows["value"].tolist() == own.rows["value"].tolist()
    sample = Sample(crowds.load(0).image)
    drawn, expected = (draw_sample(one, sample, min_score=0.1) for one in (wrapped(model), model))
    assert np.array_equal(drawn.image, expected.image) and drawn.people == expected.people
    people = wrapped(model).predict(sample.image)
    assert np.array_equal(
        posebench.draw(sample.image, people),
        posebench.draw(sample.image, model.predict(sample.image), min_score=0.1),
    )


def test_images_come_as_a_list_of_at_most_a_batch() -> None:
    sizes: list[list[tuple[int, ...]]] = []

    def function(images: list[Any]) -> list[Any]:
        sizes.append([image.shape for image in images])
        return [([], []) for _ in images]

    predictor = posebench.Predictor(function, name="nobody")
    images = [np.zeros((20 + i, 30, 3), np.uint8) for i in range(3)]
    predictions = predictor.predict(images, batch_size=2)
    assert sizes == [[(20, 30, 3), (21, 30, 3)], [(22, 30, 3)]]
    assert [people.keypoints.shape for people in predictions] == [(0, 17, 2)] * 3
    assert len(predictor.predict(images[0])) == 0


def test_scores_of_keypoints_are_those_of_the_person_without_a_third_column() -> None:
    keypoints = np.arange(68.0).reshape(2, 17, 2)
    people = constant([(keypoints, [0.2, 0.7])]).predict(np.zeros((9, 9, 3), np.uint8))
    assert people.scores.tolist() == [0.7, 0.2]  # best first
    assert people.keypoints[0, 0].tolist() == [34.0, 35.0]
    assert people.keypoint_scores[0].unique().tolist() == [0.7]
    assert people.skeleton == COCO and people.draw_score == 0.1


ONE = np.zeros((1, 17, 2))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "a list with an entry for each of 1 images .* found NoneType"),
        ([], "a list with an entry for each of 1 images .* found 0"),
        ([ONE], "keypoints and scores, as a tuple, .* found ndarray"),
        ([(ONE, 0.5)], r"scores of shape \(1,\) .* found \(\)"),
        ([(ONE, [0.5, 0.5])], r"scores of shape \(1,\) .* found \(2,\)"),
        ([(ONE[0], [0.5])], r"keypoints of shape \(people, 17, 2 or 3\) .* found \(17, 2\)"),
        ([(np.zeros((1, 14, 2)), [0.5])], r"found \(1, 14, 2\)"),
        ([(ONE * np.nan, [0.5])], "finite numbers"),
        ([(ONE, [np.inf])], "finite numbers"),
        ([("people", [0.5])], "arrays of numbers"),
    ],
)
def test_what_does_not_fit_is_refused_by_shape(returned: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        constant(returned).predict(np.zeros((9, 9, 3), np.uint8))


def test_a_function_that_fails_is_named_with_its_line(crowds: Any) -> None:
    def function(images: list[Any]) -> list[Any]:
        raise KeyError("weights")

    predictor = posebench.Predictor(function, name="broken")
    with pytest.raises(ModelError, match=r"predictor broken fails: KeyError: 'weights' \(line \d"):
        posebench.evaluate(predictor, crowds)


def test_what_posebench_cannot_know_of_a_predictor_is_refused(crowds: Any) -> None:
    predictor = constant([])
    for options in ({"flip": False}, {"oracle": True}, {"settings": ["lr=1"]}, {"scales": [1.0]}):
        with pytest.raises(UsageError, match="sees the poses alone"):
            posebench.evaluate(predictor, crowds, **options)
    with pytest.raises(UsageError, match="name it with --dataset"):
        posebench.evaluate(predictor)
    with pytest.raises(ModelError, match="leave out --heatmaps"):
        draw_sample(predictor, crowds.load(0), heatmaps=True)
    with pytest.raises(ModelError, match="leave out --steps"):
        predictor.trace(crowds.load(0).image, limit=1)
    other = constant([], skeleton="crowdpose")
    assert other.skeleton == CROWDPOSE
    with pytest.raises(ModelError, match=r"17 keypoints \(coco\), but .* has 14 \(crowdpose\)"):
        posebench.evaluate(other, crowds)


def test_a_predictor_is_declared_with_a_function_and_a_free_name() -> None:
    for given, said in (
        ({"function": [], "name": "a"}, "wraps a function"),
        ({"function": len, "name": "a b"}, "name has letters"),
        ({"function": len, "name": "a", "skeleton": "cocoo"}, "Did you mean coco"),
    ):
        with pytest.raises(UsageError, match=said):
            posebench.Predictor(**given)

    class Module:
        PREDICTORS: Any = (posebench.Predictor(len, name="cid"),)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="another model named 'cid'"):
        add_predictors(Module)
    Module.PREDICTORS = [len]
    with pytest.raises(UsageError, match="not a tuple of Predictor values"):
        add_predictors(Module)
    assert not PREDICTORS and find_predictor("cid") is None


def test_a_dataset_of_other_rules_takes_predictors_too() -> None:
    crowds = SyntheticCrowds(CROWDPOSE, "val")
    predictor = posebench.Predictor(
        lambda images: [([], []) for _ in images], name="nobody", skeleton=replace(CROWDPOSE)
    )
    run = posebench.evaluate(predictor, crowds, limit=2)
    assert run.metrics["AP"] == 0 and "APE" in run.metrics
