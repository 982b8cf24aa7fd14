"""Backends beside one another: who is ranked, who is named and why not."""

from __future__ import annotations

import pandas as pd
import pytest

from posebench.bench.speed.options import SpeedOptions, label_of
from posebench.bench.speed.rows import COMPARED, with_comparisons
from posebench.bench.speed.summary import compared_models
from posebench.bench.speed.worker import failure_message
from posebench.errors import UnsupportedError, UsageError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"backends": ("torch", "tensorrt")}, "There is no backend named 'tensorrt'"),
        ({"backends": ("auto",)}, "There is no backend named 'auto'"),
        ({"backends": ("openvino",), "precision": "bf16"}, "leave out --precision bf16"),
        ({"backends": ("openvino",), "compiled": True}, "leave out --compile"),
        ({"backends": ("openvino",), "device": "cuda"}, "leave out --device cuda"),
    ],
)
def test_options_that_a_backend_cannot_have(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        SpeedOptions(**options)  # type: ignore[arg-type]


def test_a_missing_backend_is_a_row_with_its_reason() -> None:
    message = failure_message(UnsupportedError("This needs openvino, which is not installed."))
    assert message == "unsupported: This needs openvino, which is not installed."


def measured(recipe: str, backend: str, *, equal: float) -> pd.DataFrame:
    common = dict.fromkeys(COMPARED, "same") | {"recipe": recipe, "backend": backend, "unit": ""}
    values = {"latency_p50": 1.0} | ({"outputs_equal": equal} if backend != "torch" else {})
    return pd.DataFrame([{**common, "metric": k, "value": v} for k, v in values.items()])


def rounds_of(recipe: str, backend: str, seconds: float) -> pd.DataFrame:
    common = dict.fromkeys(COMPARED, "same") | {"recipe": recipe, "backend": backend}
    return pd.DataFrame([{**common, "round": n, "seconds": seconds + n / 1e6} for n in range(3)])


def test_only_equal_outputs_are_ranked() -> None:
    models = [("a", "torch", 1.0, 4.0), ("a", "onnxruntime", 1.0, 3.0), ("a", "openvino", 0.0, 2.0)]
    rows = pd.concat([measured(name, b, equal=equal) for name, b, equal, _ in models])
    rounds = pd.concat([rounds_of(name, b, seconds) for name, b, _, seconds in models])
    found = with_comparisons(rows, rounds)
    ranks = found[found["metric"] == "rank"].set_index("backend")["value"].to_dict()
    assert ranks == {"onnxruntime": 1.0, "torch": 2.0}
    ratios = found[found["metric"] == "ratio"].set_index("backend")["value"].to_dict()
    assert ratios == pytest.approx({"onnxruntime": 0.75, "openvino": 0.5}, abs=1e-3)


def test_rows_of_an_earlier_version_are_of_pytorch() -> None:
    rows = measured("a", "torch", equal=1.0).drop(columns="backend")
    rounds = rounds_of("a", "torch", 1.0).drop(columns="backend")
    found = with_comparisons(rows, rounds)
    assert set(found["backend"]) == {"torch"}
    shown = found.assign(error="", input_size="", load="", people=5, low=None, high=None)
    [group] = compared_models(shown)
    assert [model.recipe for model in group.models] == ["a"]
    assert label_of("a", "openvino") == "a (openvino)"
