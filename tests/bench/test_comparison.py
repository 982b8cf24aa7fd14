"""Several models compared on the same images."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posebench.bench.comparison import compare, compare_matches, latex_table, letter_groups
from posebench.bench.comparison.values import Comparison
from posebench.bench.statistics import ap_interval, difference, holm
from posebench.errors import UsageError
from posebench.metrics import evaluate_keypoints
from posebench.metrics.results import parse_results
from posebench.skeleton import COCO
from tests.bench.matches import make_matches
from tests.builders import PROTOCOLS, truth_of
from tests.metrics.cases import random_case


def test_models_are_listed_from_the_best_with_their_intervals() -> None:
    models = {"weak": make_matches(0.3, 1), "strong": make_matches(0.9, 2)}
    (strong, weak), [pair] = compare_matches(models, 200)
    assert (strong.name, weak.name) == ("strong", "weak")
    ap = strong.metrics["AP"]
    assert ap == ap_interval(models["strong"], 200)
    assert ap.low < ap.value < ap.high
    assert (pair.better, pair.worse) == ("strong", "weak")
    assert (strong.letters, weak.letters) == ("a", "b")


def test_one_pair_is_compared_as_two_variants_of_an_ablation_are() -> None:
    ours, theirs = make_matches(0.7, 1), make_matches(0.55, 2)
    _, [found] = compare_matches({"ours": ours, "theirs": theirs}, 300)
    pair = difference([ours], [theirs], 300)
    assert (found.difference.value, found.difference.low, found.difference.high) == pytest.approx(
        (pair.value, pair.low, pair.high), abs=1e-12
    )
    assert found.p == found.p_adjusted == pair.p_images


def test_the_smallest_difference_that_could_be_shown_is_of_the_same_draws() -> None:
    models = {"ours": make_matches(0.7, 1), "theirs": make_matches(0.55, 2)}
    _, [pair] = compare_matches(models, 1000)
    # 2.8 deviations, where an interval of 95 % is 3.92 wide.
    width = pair.difference.high - pair.difference.low
    assert pair.smallest == pytest.approx(2.8 / 3.92 * width, rel=0.15)


def test_p_values_are_adjusted_for_all_pairs() -> None:
    models = {f"model {i}": make_matches(0.6 + 0.04 * i, i) for i in range(4)}
    _, pairs = compare_matches(models, 200)
    assert [one.p_adjusted for one in pairs] == holm([one.p for one in pairs])
    for one in pairs:
        alone = difference([models[one.better]], [models[one.worse]], 200).p_images
        assert one.p == alone


def test_scores_need_not_be_on_one_scale() -> None:
    models = {"ours": make_matches(0.75, 1), "theirs": make_matches(0.6, 2)}
    expected = compare_matches(models, 200)
    for change in (lambda s: 100 * s, lambda s: s**3 / 4):
        scaled = replace(models["theirs"], scores=change(models["theirs"].scores))
        assert compare_matches({**models, "theirs": scaled}, 200) == expected


def test_a_model_alone_is_the_best() -> None:
    [alone], pairs = compare_matches({"alone": make_matches(0.5, 1)}, 50)
    assert (alone.letters, pairs) == ("a", ())


NAMES = "ABCDE"


@given(st.sets(st.sampled_from(list(combinations(NAMES, 2)))))
def test_models_share_a_letter_exactly_if_they_do_not_differ(
    different: set[tuple[str, str]],
) -> None:
    letters = letter_groups(NAMES, different)
    assert letters["A"].startswith("a")
    for pair in combinations(NAMES, 2):
        first, second = (set(letters[name]) for name in pair)
        assert first.isdisjoint(second) == (pair in different)


def test_letters_of_a_chain() -> None:
    assert letter_groups("ABC", {("A", "C")}) == {"A": "a", "B": "ab", "C": "b"}


def test_empty_predictions_are_the_worst() -> None:
    nothing = replace(
        make_matches(0.5, 1),
        scores=np.zeros(0), image=np.zeros(0, np.int64),
        correct=np.zeros((10, 0), bool), wrong=np.zeros((10, 0), bool),
    )  # fmt: skip
    (some, none), _ = compare_matches({"none": nothing, "some": make_matches(0.5, 2)}, 50)
    assert (some.name, none.name) == ("some", "none")
    assert none.metrics["AP"].value == 0
    assert none.letters == "b"


def compared(dataset: str, seed: int = 0, **options: Any) -> tuple[Comparison, dict[str, Any]]:
    """Compare two halves of random detections; also return what `evaluate_keypoints` says."""
    protocol = PROTOCOLS[dataset]
    content, results = random_case(protocol.skeleton, seed, images=16)
    truth = truth_of(content, protocol)
    halves = {"even": results[::2], "odd": results[1::2]}
    detections = {name: parse_results(own, truth) for name, own in halves.items()}
    official = {name: evaluate_keypoints(truth, own, protocol) for name, own in halves.items()}
    return compare(detections, truth, protocol, draws=100, **options), official


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dataset", ["ochuman", "crowdpose"])
def test_the_metrics_are_the_official_ones(dataset: str, seed: int) -> None:
    found, official = compared(dataset, seed)
    names = ("APM", "APL") if dataset == "ochuman" else ("APE", "APM", "APH")
    for model in found.models:
        assert list(model.metrics) == ["AP", "AP50", "AP75", *names]
        for metric, interval in model.metrics.items():
            assert interval.value == pytest.approx(official[model.name][metric], abs=1e-12)
            assert interval.low <= interval.high
    for score in found.groups:
        if score.by == "keypoint":
            expected = official[score.model][f"AP/{score.group}"]
            assert score.ap.value == pytest.approx(expected, abs=1e-12)


def test_what_an_image_costs_is_the_ap_without_it() -> None:
    protocol = PROTOCOLS["ochuman"]
    content, results = random_case(COCO, 2, images=10)
    truth = truth_of(content, protocol)
    found = compare({"one": parse_results(results, truth)}, truth, protocol, draws=100)
    whole = evaluate_keypoints(truth, results, protocol)["AP"]
    assert sorted(effect.image for effect in found.images) == list(range(10))
    for effect in found.images:
        rest = [index for index in range(10) if index != effect.image]
        assert effect.image_id == truth.image_id(effect.image)
        others = [result for result in results if result["image_id"] != effect.image_id]
        without = evaluate_keypoints(truth.select_images(rest), others, protocol)["AP"]
        assert effect.cost["one"] == pytest.approx(without - whole, abs=1e-12)
        assert effect.people == (truth.people & (truth.image == effect.image)).sum()


def test_the_images_that_decide_come_first_and_groups_have_their_differences() -> None:
    found, _ = compared("ochuman", 1)
    gaps = [abs(effect.cost["even"] - effect.cost["odd"]) for effect in found.images]
    assert gaps == sorted(gaps, reverse=True)
    assert found.reference == found.models[0].name
    scores = {(one.model, one.by, one.group): one.ap.value for one in found.groups}
    assert found.group_differences
    for one in found.group_differences:
        better, worse = (scores[name, one.by, one.group] for name in (one.better, one.worse))
        assert one.difference.value == pytest.approx(better - worse, abs=1e-12)


def test_tables_are_tidy_and_in_percent() -> None:
    found, official = compared("crowdpose")
    tables = found.tables()
    assert list(tables) == ["metrics", "differences", "groups", "images", "errors"]
    metrics = tables["metrics"].set_index(["model", "metric"])
    assert metrics.loc[("odd", "AP"), "value"] == pytest.approx(100 * official["odd"]["AP"])
    assert (tables["differences"]["group"] == "all").sum() == 1
    assert len(tables["images"]) == 2 * 16
    assert tables["errors"].empty
    assert f"{100 * official['odd']['AP']:.1f}$^" in latex_table(found)


def test_groups_can_be_left_out_and_wrong_names_are_refused() -> None:
    found, _ = compared("ochuman", groups=False, reference="odd")
    assert (found.groups, found.images, found.reference) == ((), (), "odd")
    with pytest.raises(UsageError, match="even, odd as reference, not other"):
        compared("ochuman", reference="other")
