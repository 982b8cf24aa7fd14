"""AP of resampled images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from posebench.metrics import evaluate_keypoints
from posebench.metrics.resampling import matches, resampled_ap
from posebench.skeleton import COCO
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case

PROTOCOL = PROTOCOLS["ochuman"]
SEEDS = range(4)


def image_index(content: dict[str, Any]) -> dict[int, int]:
    """Return the rank of each image id."""
    return {one: rank for rank, one in enumerate(sorted(i["id"] for i in content["images"]))}


def ap(ground_truth: dict[str, Any], results: list[dict[str, Any]]) -> float:
    return evaluate_keypoints(truth_of(ground_truth), results, PROTOCOL)["AP"]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_once_is_the_official_ap(seed: int) -> None:
    truth, results = random_case(COCO, seed)
    found = resampled_ap([matches(truth_of(truth), results, PROTOCOL)], [np.ones((1, 12))])
    assert found == pytest.approx([ap(truth, results)], abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_images_that_are_not_drawn_are_as_if_they_were_not_there(seed: int) -> None:
    truth, results = random_case(COCO, seed)
    drawn = np.arange(12) % 3 > 0  # in the order of image ids
    ids = {image_id for image_id, index in image_index(truth).items() if drawn[index]}
    part = {
        **truth,
        "images": [image for image in truth["images"] if image["id"] in ids],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in ids],
    }
    found = resampled_ap([matches(truth_of(truth), results, PROTOCOL)], [drawn[None].astype(float)])
    expected = ap(part, [result for result in results if result["image_id"] in ids])
    assert found == pytest.approx([expected], abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_image_that_is_drawn_twice_is_as_if_there_were_two_of_it(seed: int) -> None:
    truth, results = random_case(COCO, seed)
    # No ties: a copy comes after all other images, and of an image's equal scores a weight counts
    # the first twice before the second, where the official tools go through the copies in turn.
    results = [{**r, "score": r["score"] + 1e-4 * n} for n, r in enumerate(results)]
    chosen = truth["images"][0]["id"]

    def copies(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**e, "image_id": 5000} for e in entries if e["image_id"] == chosen]

    double = {
        **truth,
        "images": [*truth["images"], {"id": 5000}],
        "annotations": [*truth["annotations"], *copies(truth["annotations"])],
    }
    for number, annotation in enumerate(double["annotations"]):
        double["annotations"][number] = {**annotation, "id": number + 1}
    weights = np.ones((1, 12))
    weights[0, image_index(truth)[chosen]] = 2
    found = resampled_ap([matches(truth_of(truth), results, PROTOCOL)], [weights])
    assert found == pytest.approx([ap(double, results + copies(results))], abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_models_may_share_the_images(seed: int) -> None:
    truth, results = random_case(COCO, seed)
    half, rest = results[::2], results[1::2]
    swapped = np.arange(12) % 2 == 0
    of_image = {image_id: swapped[index] for image_id, index in image_index(truth).items()}
    mixed = [r for r in half if not of_image[r["image_id"]]]
    mixed += [r for r in rest if of_image[r["image_id"]]]
    first, second = (matches(truth_of(truth), own, PROTOCOL) for own in (half, rest))
    share = swapped[None].astype(float)
    found = resampled_ap([first, second], [1 - share, share])
    assert found == pytest.approx([ap(truth, mixed)], abs=1e-12)


def test_nobody_to_find_is_not_a_number() -> None:
    truth, results = random_case(COCO, 0)
    found = resampled_ap([matches(truth_of(truth), results, PROTOCOL)], [np.zeros((1, 12))])
    assert np.isnan(found).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_shortcuts_change_nothing_to_the_last_bit(seed: int) -> None:
    """AP by the definition: precision and recall after every detection, at every threshold."""
    truth, results = random_case(COCO, seed)
    one = matches(truth_of(truth), results, PROTOCOL)
    weights = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12), 20).astype(float)
    order = np.lexsort((one.image, -one.scores))
    expected = []
    for draw in weights:
        weight, required = draw[one.image[order]], (draw * one.people).sum()
        total = 0.0
        for correct, wrong in zip(one.correct[:, order], one.wrong[:, order], strict=True):
            true, false = (weight * correct).cumsum(), (weight * wrong).cumsum()
            precision = true / (true + false + np.finfo(float).eps)
            for level in np.linspace(0, 1, 101)[::-1]:
                total += max(precision[true / required >= level], default=0.0)
        expected.append(total / 1010)
    assert resampled_ap([one], [weights]).tolist() == expected
