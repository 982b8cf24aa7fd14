from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from posebench.errors import Notice
from posebench.metrics import evaluate_keypoints, main_metric
from posebench.skeleton import COCO, CROWDPOSE, MPII
from posebench.structures import Protocol
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case
from tests.metrics.official import coco_metrics

SEEDS = range(4)


def evaluate(
    content: dict[str, Any], results: list[dict[str, Any]], protocol: Protocol
) -> dict[str, float]:
    return evaluate_keypoints(truth_of(content, protocol), results, protocol)


def person(image_id: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a person of 100 x 100 px whose 17 keypoints lie on a diagonal."""
    keypoints = [number for index in range(17) for number in (6.0 * index, 6.0 * index, 2)]
    return {
        "id": 1, "image_id": image_id, "category_id": 1, "keypoints": keypoints,
        "num_keypoints": 17, "bbox": [0.0, 0.0, 100.0, 100.0], "area": 10000.0, "iscrowd": 0,
        **fields,
    }  # fmt: skip


def found(annotation: dict[str, Any], score: float = 0.9, shift: float = 0.0) -> dict[str, Any]:
    """Return a detection of the person, with all keypoints shifted to the right."""
    keypoints = list(annotation["keypoints"])
    keypoints[0::3] = [x + shift for x in keypoints[0::3]]
    return {
        "image_id": annotation["image_id"], "category_id": 1, "keypoints": keypoints,
        "score": score,
    }  # fmt: skip


def truth(*annotations: dict[str, Any]) -> dict[str, Any]:
    images = sorted({annotation["image_id"] for annotation in annotations} | {1})
    return {"images": [{"id": image_id} for image_id in images], "annotations": list(annotations)}


@pytest.mark.parametrize("seed", SEEDS)
def test_coco_metrics_equal_pycocotools(seed: int) -> None:
    ground_truth, results = random_case(COCO, seed)
    ours = evaluate(ground_truth, results, PROTOCOLS["coco"])
    official = coco_metrics(ground_truth, results, PROTOCOLS["coco"])
    assert {name: ours[name] for name in official} == pytest.approx(official, abs=1e-12)
    assert 0.01 < official["AP"] < 0.99


@pytest.mark.parametrize("seed", SEEDS)
def test_crowdpose_metrics_equal_pycocotools_with_its_areas_image_by_image_class(seed: int) -> None:
    protocol = PROTOCOLS["crowdpose"]
    ground_truth, results = random_case(CROWDPOSE, seed)
    ours = evaluate(ground_truth, results, protocol)
    limits = {"AP": (-1, 9), "APE": (-1, 0.2), "APM": (0.2, 0.8), "APH": (0.8, 9)}
    for name, (low, high) in limits.items():
        ids = {i["id"] for i in ground_truth["images"] if low <= i["crowdIndex"] < high}
        part = copy.deepcopy(ground_truth)
        part["images"] = [image for image in part["images"] if image["id"] in ids]
        part["annotations"] = [a for a in part["annotations"] if a["image_id"] in ids]
        chosen = [result for result in results if result["image_id"] in ids]
        official = coco_metrics(part, chosen, protocol)
        assert ours[name] == pytest.approx(official["AP"], abs=1e-12), name
    for name in ("AP50", "AP75", "AR", "AR50", "AR75"):
        whole = coco_metrics(ground_truth, results, protocol)
        assert ours[name] == pytest.approx(whole[name], abs=1e-12), name


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_ap_of_a_keypoint_is_that_of_a_skeleton_of_this_keypoint_alone(dataset: str) -> None:
    protocol = PROTOCOLS[dataset]
    ground_truth, results = random_case(protocol.skeleton, seed=5)
    ours = evaluate(ground_truth, results, protocol)
    for index, name in enumerate(protocol.skeleton.keypoints):
        numbers = slice(3 * index, 3 * index + 3)
        single = copy.deepcopy(ground_truth)
        for annotation in single["annotations"]:
            annotation["keypoints"] = annotation["keypoints"][numbers]
            annotation["num_keypoints"] *= annotation["keypoints"][2] > 0
        # The box keeps the detection's size, which the tool would take from the one keypoint.
        alone = [
            result | {"keypoints": result["keypoints"][numbers], "bbox": [0, 0, 300, 300]}
            for result in results
        ]
        skeleton = replace(protocol.skeleton, sigmas=(protocol.skeleton.sigmas[index],))
        official = coco_metrics(single, alone, replace(protocol, skeleton=skeleton))
        assert ours[f"AP/{name}"] == pytest.approx(official["AP"], abs=1e-12), name
        assert ours[f"AP/{name}"] > 0


def test_a_perfect_detection_scores_one_and_nothing_medium_is_minus_one() -> None:
    metrics = evaluate(truth(person()), [found(person())], PROTOCOLS["coco"])
    assert metrics["AP"] == metrics["AR"] == metrics["APL"] == metrics["AP/nose"] == 1.0
    assert metrics["APM"] == metrics["ARM"] == -1.0


def test_a_keypoint_by_itself_moves_only_its_own_ap() -> None:
    pose = found(person())
    pose["keypoints"][0] += 500  # nose: the first x
    metrics = evaluate(truth(person()), [pose], PROTOCOLS["coco"])
    assert metrics["AP/nose"] == 0.0
    assert metrics["AP/left_eye"] == 1.0
    # OKS is 16/17 = 0.941: nine of ten thresholds are met.
    assert metrics["AP"] == pytest.approx(0.9)


def test_a_keypoint_that_nobody_has_gives_minus_one() -> None:
    annotation = person()
    annotation["keypoints"][2] = 0
    metrics = evaluate(truth(annotation), [found(person())], PROTOCOLS["coco"])
    assert metrics["AP/nose"] == -1.0


def test_crowdpose_takes_its_area_from_the_box() -> None:
    keypoints = [number for index in range(14) for number in (10.0 * index, 10.0, 2)]
    annotation = person(keypoints=keypoints, num_keypoints=12, area=1.0)
    ground_truth = truth(annotation)
    ground_truth["images"][0]["crowdIndex"] = 0.8
    results = [found(annotation, shift=3.0)]
    metrics = evaluate(ground_truth, results, PROTOCOLS["crowdpose"])
    # exp(-9 / (2 * 5300 * (2 * 0.062)^2)) = 0.946 for a wrist: all thresholds but 0.95.
    assert metrics["AP/left_wrist"] == pytest.approx(0.9)
    assert metrics["APH"] == metrics["AP"]
    assert metrics["APE"] == metrics["APM"] == -1.0


def test_equal_scores_of_different_images_are_ranked_by_image_id() -> None:
    # The false one lies in the image with the higher id, but comes first in the file.
    people = (person(1), person(7, id=2))
    results = [found(people[1], shift=900.0), found(people[0])]
    metrics = evaluate(truth(*people), results, PROTOCOLS["coco"])
    assert metrics["AP50"] == pytest.approx(51 / 101)  # precision 1 up to recall 0.5


@pytest.mark.parametrize("offset", [0, 1])
def test_annotation_ids_do_not_matter(offset: int) -> None:
    # pycocotools takes the match with annotation 0 for no match.
    metrics = evaluate(truth(person(id=offset)), [found(person())], PROTOCOLS["coco"])
    assert metrics["AP"] == 1.0


def test_no_detections_score_zero_and_no_people_minus_one() -> None:
    assert set(evaluate(truth(person()), [], PROTOCOLS["coco"]).values()) == {0.0, -1.0}
    assert set(evaluate(truth(), [], PROTOCOLS["coco"]).values()) == {-1.0}
    nobody = evaluate(truth(), [found(person())], PROTOCOLS["coco"])
    assert set(nobody.values()) == {-1.0}


def test_missing_num_keypoints_are_counted_without_head_and_neck() -> None:
    keypoints = [0.0] * 36 + [10.0, 10.0, 2, 20.0, 20.0, 2]  # head and neck only
    annotation = person(keypoints=keypoints)
    del annotation["num_keypoints"]
    ground_truth = truth(annotation)
    ground_truth["images"][0]["crowdIndex"] = 0.5
    metrics = evaluate(ground_truth, [], PROTOCOLS["crowdpose"])
    assert metrics["AP"] == -1.0


@pytest.mark.parametrize("stated", [0, 1, 17, 51])
def test_keypoints_decide_who_must_be_found_whatever_num_keypoints_says(stated: int) -> None:
    labelled, nobody = person(num_keypoints=stated), person(num_keypoints=stated)
    nobody["keypoints"] = [0.0] * 51
    assert evaluate(truth(labelled), [], PROTOCOLS["coco"])["AP"] == 0.0
    assert evaluate(truth(nobody), [], PROTOCOLS["coco"])["AP"] == -1.0


def test_missing_areas_are_derived_from_the_box() -> None:
    given, missing = person(area=5300.0), person()
    del missing["area"]
    results = [found(person(), shift=8.0)]
    with pytest.warns(Notice, match=r"1 labelled annotations have no area.*0\.53 of their box"):
        derived = evaluate(truth(missing), results, PROTOCOLS["coco"])
    assert derived == evaluate(truth(given), results, PROTOCOLS["coco"])
    assert 0 < derived["AP"] < 1


def test_without_crowding_there_is_ap_and_no_ap_by_crowding() -> None:
    annotation = person(keypoints=[10.0, 10.0, 2] * 14, num_keypoints=12)
    content = truth(annotation, person(2, keypoints=[10.0, 10.0, 2] * 14, id=2))
    results = [found(annotation)]
    for index in (None, float("nan")):
        content["images"][0] |= {"crowdIndex": 0.5}
        content["images"][1] |= {} if index is None else {"crowdIndex": index}
        metrics = evaluate(content, results, PROTOCOLS["crowdpose"])
        assert metrics["AP"] == pytest.approx(51 / 101)
        assert metrics["APE"] == metrics["APM"] == metrics["APH"] == -1.0


def test_the_callers_values_are_not_changed() -> None:
    ground_truth, results = random_case(COCO, seed=9)
    before = copy.deepcopy((ground_truth, results))
    evaluate(ground_truth, results, PROTOCOLS["coco"])
    assert (ground_truth, results) == before


def test_another_skeleton_follows_cocos_rules() -> None:
    ground_truth, results = random_case(MPII, seed=2)
    protocol = replace(PROTOCOLS["coco"], skeleton=MPII)
    official = coco_metrics(ground_truth, results, protocol)
    assert evaluate(ground_truth, results, protocol)["AP"] == pytest.approx(
        official["AP"], abs=1e-12
    )


# ------------------------------------------------------------------------------------- categories


def of_species(content: dict[str, Any], count: int, seed: int) -> dict[str, Any]:
    """Return annotations or results whose people are of random categories, by their image."""
    rng = np.random.default_rng(seed)
    kinds = {image["id"]: rng.integers(1, count + 1, 50).tolist() for image in content["images"]}
    annotations = [
        {**one, "category_id": kinds[one["image_id"]][number % 50]}
        for number, one in enumerate(content["annotations"])
    ]
    names = content["categories"][0]["keypoints"]
    # The last category has nobody.
    categories = [
        {"id": number, "name": f"species {number}", "keypoints": names}
        for number in range(1, count + 2)
    ]
    return {**content, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("seed", SEEDS)
def test_separate_categories_equal_pycocotools(seed: int) -> None:
    content, results = random_case(COCO, seed)
    content = of_species(content, 3, seed)
    rng = np.random.default_rng(seed)
    results = [{**result, "category_id": int(rng.integers(1, 4))} for result in results]
    protocol = replace(PROTOCOLS["coco"], separate=True)
    ours = evaluate(content, results, protocol)
    official = coco_metrics(content, results, protocol)
    assert {name: ours[name] for name in official} == pytest.approx(official, abs=1e-12)
    merged = evaluate(content, results, PROTOCOLS["coco"])
    names = [name for name in merged if "/" not in name]
    assert {f"{name} (merged)": merged[name] for name in names}.items() <= ours.items()
    assert {name: merged[name] for name in merged if "/" in name}.items() <= ours.items()
    each = [value for name, value in ours.items() if name.startswith("AP[")]
    assert [name for name in ours if name.startswith("AP[")] == [
        f"AP[species {number}]" for number in (1, 2, 3)
    ]
    assert ours["AP"] == pytest.approx(sum(each) / 3)
    assert main_metric(ours)[0] == "AP"
    assert ours["AP"] != ours["AP (merged)"]


def test_results_without_categories_are_merged_and_called_so() -> None:
    content, results = random_case(COCO, 0)
    content = of_species(content, 3, 0)
    protocol = replace(PROTOCOLS["coco"], separate=True)
    merged = evaluate(content, results, PROTOCOLS["coco"])
    ours = evaluate(content, results, protocol)  # all are of category 1
    assert main_metric(ours) == ("AP (merged)", merged["AP"])
    assert "AP" not in ours
    assert list(ours.values()) == list(merged.values())
    # No detections at all have the same names, so that a training's curve goes on.
    assert evaluate(content, [], protocol).keys() == ours.keys()


def test_a_single_category_is_not_separated() -> None:
    content, results = random_case(COCO, 1)
    protocol = replace(PROTOCOLS["coco"], separate=True)
    assert evaluate(content, results, protocol) == evaluate(content, results, PROTOCOLS["coco"])


def test_the_mean_over_categories_by_hand() -> None:
    first, second = person(id=1), person(image_id=2, id=2, category_id=2)
    content = truth(first, second)
    content["categories"] = [
        {"id": number, "name": name, "keypoints": list(COCO.keypoints)}
        for number, name in ((1, "cat"), (2, "dog"))
    ]
    # The dog's pose is called a cat's, and somewhere a dog is seen.
    results = [found(first), found(second, 0.95), {**found(first, 0.1, 400), "category_id": 2}]
    ours = evaluate(content, results, replace(PROTOCOLS["coco"], separate=True))
    assert ours["AP[dog]"] == 0
    assert ours["AP[cat]"] == pytest.approx(0.5)  # the better one is in an image without cats
    assert ours["AP"] == pytest.approx(0.25)
    assert ours["AP (merged)"] == 1
