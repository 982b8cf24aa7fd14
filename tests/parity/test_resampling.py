"""AP of drawn and of exchanged images against pycocotools on copies of the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

from posebench.data.annotations import read_annotations
from posebench.metrics import read_results
from posebench.metrics.matching import Floats, Matches
from posebench.metrics.resampling import matches, resampled_ap
from tests.builders import PROTOCOLS
from tests.parity.fixtures import cases, find_in_sets

TOLERANCE = 1e-6
NAMES = ("pred_a", "pred_c_good")
CASES = cases("analysis", f"coco_oracles/resampled_{'_'.join(NAMES)}.json")


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def given(request: pytest.FixtureRequest) -> dict[str, Floats]:
    """Return the draws and exchanges, in the order of our images, and the AP that they give."""
    path: Path = request.param
    values = {name: np.array(value) for name, value in json.loads(path.read_text()).items()}
    truth = read_annotations(find_in_sets("eval/coco/gt.json"), PROTOCOLS["coco"])
    index = {truth.image_id(place): rank for place, rank in enumerate(truth.rank.tolist())}
    order = np.argsort([index[image] for image in values.pop("images").tolist()])
    assert len(order) == len(index)
    for name in ("draws", "exchanges"):
        values[name] = values[name][:, order].astype(np.float64)
    return values


@pytest.fixture(scope="module")
def models() -> list[Matches]:
    protocol = PROTOCOLS["coco"]
    truth = read_annotations(find_in_sets("eval/coco/gt.json"), protocol)
    paths = [find_in_sets(f"eval/coco/{name}.json") for name in NAMES]
    return [matches(truth, read_results(path, truth), protocol) for path in paths]


def test_an_image_drawn_several_times_counts_as_often(
    given: dict[str, Floats], models: list[Matches]
) -> None:
    for model, name in zip(models, ("ap_a", "ap_b"), strict=True):
        found = resampled_ap([model], [given["draws"]])
        assert found == pytest.approx(given[name], abs=TOLERANCE), name


@pytest.mark.parametrize(
    ("sort", "key"),
    [(lambda s: s, "ap_exchanged"), (lambda s: rankdata(s) / len(s), "ap_exchanged_ranked")],
    ids=["scores", "ranks"],
)
def test_exchanged_results_are_those_of_two_mixed_files(
    sort: Callable[[Floats], Floats], key: str, given: dict[str, Floats], models: list[Matches]
) -> None:
    both = [replace(model, scores=sort(model.scores)) for model in models]
    kept, exchanged = 1 - given["exchanges"], given["exchanges"]
    found = [resampled_ap(both, own) for own in ([kept, exchanged], [exchanged, kept])]
    assert np.stack(found, axis=1) == pytest.approx(given[key], abs=TOLERANCE)
