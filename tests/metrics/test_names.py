from __future__ import annotations

import pytest

from posebench.metrics import evaluate_poses, main_at_thresholds, main_metric, main_parts
from posebench.metrics.names import pckh_name
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case
from tests.metrics.test_pckh import found, person, truth


@pytest.mark.parametrize(
    ("dataset", "parts"), [("coco", ["APM", "APL"]), ("crowdpose", ["APM", "APE", "APH"])]
)
def test_ap_is_the_main_metric_of_oks(dataset: str, parts: list[str]) -> None:
    protocol = PROTOCOLS[dataset]
    content, results = random_case(protocol.skeleton, seed=1)
    metrics = evaluate_poses(truth_of(content, protocol), results, protocol)
    assert main_metric(metrics) == ("AP", metrics["AP"])
    assert main_at_thresholds(metrics) == ["AP", "AP50", "AP75"]
    assert main_parts(metrics) == ["AP50", "AP75", *parts]


def test_pckh_is_the_main_metric_of_head_boxes() -> None:
    metrics = evaluate_poses(truth(person(1)), [found(1, 0.0)], PROTOCOLS["mpii"])
    assert main_metric(metrics) == (pckh_name(), 1.0)
    assert main_at_thresholds(metrics) == ["PCKh@0.5"]
    assert main_parts(metrics)[0] == "PCKh@0.5/head"
    assert len(main_parts(metrics)) == 7


def test_the_name_says_how_poses_were_matched() -> None:
    assert pckh_name(0.1, matched=True) == "PCKh@0.1 (matched)"
