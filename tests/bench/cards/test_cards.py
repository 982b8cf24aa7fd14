"""Cards of small runs: made, moved, and checked; what changes fails, what is missing is said."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

import posebench
from posebench.bench.cards import CardCheck, check_card, make_card
from posebench.bench.cards.places import Given
from posebench.card import Card, read_card_file
from posebench.engine.checkpoint import save_weights
from posebench.engine.provenance import PROTOCOL_VERSION
from posebench.errors import DataError
from posebench.models import RECIPES
from posebench.models.cid import CID
from posebench.recipe import override
from posebench.skeleton import COCO
from tests.builders import write_coco

WITH_ONNX = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx or onnxruntime is not installed: pip install 'posebench[onnx]'",
)
RECIPE = override(RECIPES["cid_tiny"], "inference.resize.short_side=64")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, weights that find people everywhere, and an evaluation of them."""
    place = tmp_path_factory.mktemp("place")
    torch.manual_seed(0)
    network = RECIPE.build(COCO)
    assert isinstance(network, CID) and network.keypoint_head.bias is not None
    torch.nn.init.constant_(network.keypoint_head.bias, 0.0)
    save_weights(place / "tiny.safetensors", network, RECIPE, COCO, {"dataset": "coco", "seed": 3})
    write_coco(place / "data", (1, 2, 1), "val")
    posebench.evaluate(
        place / "tiny.safetensors", "coco", data_root=place / "data", device="cpu",
        flip=False, batch_size=2, runs=place / "runs",
    )  # fmt: skip
    return place


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """A copy that a test may change, whose record names the copied files."""
    copied = Path(shutil.copytree(place, tmp_path / "copy"))
    record = run_of(copied) / "evaluation.json"
    record.write_text(record.read_text().replace(str(place), str(copied)))
    return copied


def run_of(place: Path) -> Path:
    [run] = (place / "runs" / "eval").iterdir()
    return run


def check(path: Path, given: Given | None = None, *, predict: bool = True) -> CardCheck:
    return check_card(path, given or Given(), device="cpu", predict=predict)


def verdicts(checked: CardCheck) -> dict[str, str]:
    return {part.name: part.verdict for part in checked.parts}


def note(checked: CardCheck, name: str) -> str:
    [found] = [part.note for part in checked.parts if part.name == name]
    return found


def test_a_card_says_what_the_numbers_depend_on(copy: Path) -> None:
    run = run_of(copy)
    card = make_card(run)
    assert read_card_file(run) == card == read_card_file(run / "card.json")
    rows = pd.read_csv(run / "results.csv").iloc[0]
    assert card.protocol_version == PROTOCOL_VERSION
    assert (card.model.name, card.model.kind, card.model.method) == ("cid_tiny", "model", "cid")
    assert card.model.recipe_hash == rows["recipe_hash"]
    assert card.sha256 == rows["weights_sha256"]
    assert card.evaluation.data_hash == rows["data_hash"]
    assert card.evaluation.seeds == {"training": 3, "bootstrap": 0}
    assert card.evaluation.metrics == json.loads((run / "metrics.json").read_text())
    assert card.evaluation.batch_size == 2 and card.evaluation.tta == "none"
    assert card.evaluation.environment.packages["torch"]
    low, high = card.evaluation.intervals["AP"]
    assert (100 * low, 100 * high) == pytest.approx((rows["low"], rows["high"]))
    for name in (card.evaluation.results, card.model.weights):
        assert name is not None and (run / name.file).is_file()


def test_a_card_that_is_handed_on_holds_at_another_place(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_card(run_of(copy), tmp_path / "handed")
    assert {path.name for path in (tmp_path / "handed").iterdir()} == {
        "card.json", "README.md", "cid_tiny.safetensors", "predictions.json",
    }  # fmt: skip
    moved = tmp_path / "far" / "away"
    shutil.copytree(tmp_path / "handed", moved)
    shutil.move(copy / "data", tmp_path / "here")
    shutil.rmtree(copy)
    monkeypatch.chdir(moved)
    checked = check(moved, Given(data_root=tmp_path / "here"))
    assert set(verdicts(checked).values()) == {"holds"} and len(checked.parts) == 4
    assert checked.differences == ()
    assert "to 1e-6, on the same system" in note(checked, "predicted again")
    assert "evaluated in" in checked.shown[0]
    # Without the option the data are missing, which is said with what to do.
    checked = check(moved)
    assert verdicts(checked) == {
        "weights": "holds", "data": "untested", "scored again": "untested",
        "predicted again": "untested",
    }  # fmt: skip
    assert "--data-root" in note(checked, "data")


def changed(run: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    make_card(run)
    values = json.loads((run / "card.json").read_text())
    change(values)
    (run / "card.json").write_text(json.dumps(values))
    return run / "card.json"


def test_another_number_fails_in_the_seventh_decimal(copy: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["evaluation"]["metrics"]["AR"] += 3e-6

    checked = check(changed(run_of(copy), change))
    assert verdicts(checked)["scored again"] == "fails"
    assert "AR is 3e-06 apart" in note(checked, "scored again")
    assert verdicts(checked)["predicted again"] == "fails"


@pytest.mark.parametrize(("apart", "verdict"), [(0.0009, "holds"), (0.0011, "fails")])
def test_on_another_system_predictions_agree_within_a_tenth(
    copy: Path, apart: float, verdict: str
) -> None:
    def change(values: dict[str, Any]) -> None:
        values["evaluation"]["environment"]["packages"]["torch"] = "0.1"
        values["evaluation"]["environment"]["hardware"] = "another"
        values["evaluation"]["metrics"]["AP"] += apart

    checked = check(changed(run_of(copy), change))
    assert verdicts(checked)["predicted again"] == verdict
    assert "within 0.1" in note(checked, "predicted again")
    assert any(line.startswith("torch 0.1, here ") for line in checked.differences)
    assert any(line.startswith("hardware another, here ") for line in checked.differences)


def test_rounded_numbers_may_be_half_a_digit_apart(copy: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        own = values["evaluation"]
        own["metrics"] = {name: round(value, 3) for name, value in own["metrics"].items()}
        own["decimals"] = 1

    assert set(verdicts(check(changed(run_of(copy), change))).values()) == {"holds"}


def test_changed_files_are_found(copy: Path) -> None:
    run = run_of(copy)
    make_card(run)
    weights = copy / "tiny.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    checked = check(run)
    assert verdicts(checked) == {
        "weights": "fails", "data": "holds", "scored again": "holds",
        "predicted again": "untested",
    }  # fmt: skip
    # A copy at another place serves as well.
    (copy / "copied.safetensors").write_bytes(before)
    checked = check(run, Given(weights=copy / "copied.safetensors"))
    assert set(verdicts(checked).values()) == {"holds"}

    [annotations] = (copy / "data").rglob("*keypoints*.json")
    values = json.loads(annotations.read_text())
    results = [  # better ones, everybody where they are
        {name: one[name] for name in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for one in values["annotations"]
    ]
    (run / "predictions.json").write_text(json.dumps(results))
    checked = check(run, predict=False)
    assert verdicts(checked)["scored again"] == "fails"
    assert "predictions.json has changed" in note(checked, "scored again")
    assert "predicted again" not in verdicts(checked)
    (run / "predictions.json").unlink()
    assert "--results" in note(check(run, predict=False), "scored again")

    values["annotations"][0]["area"] *= 2
    annotations.write_text(json.dumps(values))
    checked = check(run, predict=False)
    assert verdicts(checked)["data"] == "fails"
    assert "other annotations" in note(checked, "data")


def test_images_that_are_missing_are_said(copy: Path) -> None:
    make_card(run_of(copy))
    for picture in (copy / "data").rglob("*.jpg"):
        picture.unlink()
    checked = check(run_of(copy))
    assert verdicts(checked)["scored again"] == "holds"
    assert verdicts(checked)["predicted again"] == "untested"
    assert ".jpg" in note(checked, "predicted again")


def test_the_page_of_a_model_hub_has_its_head(copy: Path) -> None:
    card = make_card(run_of(copy))
    _, head, body = (run_of(copy) / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["library_name"] == "posebench"
    assert values["pipeline_tag"] == "keypoint-detection"
    [index] = values["model-index"]
    assert index["name"] == "cid_tiny"
    [result] = index["results"]
    assert result["task"]["type"] == "keypoint-detection"
    assert result["dataset"]["type"] == "coco" and result["dataset"]["split"] == "val"
    first = result["metrics"][0]
    assert first["type"] == "AP"
    assert first["value"] == pytest.approx(100 * card.main[1], abs=0.005)
    assert "95 % interval" in first["name"]
    # What the hub's specification requires of every result.
    assert all({"type", "value"} <= metric.keys() for metric in result["metrics"])
    assert all(metric["value"] >= 0 for metric in result["metrics"])
    assert "posebench verify card.json" in body and card.sha256 in body
    assert "license" not in values  # not known


def test_times_are_shown_and_not_verified(copy: Path) -> None:
    rows = [
        {"recipe": name, "metric": "latency_p50", "value": value, "unit": "ms", "low": 9.0,
         "high": 11.0, "protocol": "forward", "hardware": "a CPU", "precision": "fp32"}
        for name, value in (("cid_tiny", 10.0), ("posedet_tiny", 30.0))
    ]  # fmt: skip
    rows.append({**rows[0], "metric": "latency_p99", "value": float("nan")})
    (copy / "speed").mkdir()
    pd.DataFrame(rows).to_csv(copy / "speed" / "results.csv", index=False)
    card = make_card(run_of(copy), speed=copy / "speed")
    [row] = card.speed
    assert (row["metric"], row["value"], row["low"]) == ("latency_p50", 10, 9)
    assert "10 ms (9 to 11)" in (run_of(copy) / "README.md").read_text()
    checked = check(run_of(copy), predict=False)
    assert "latency_p50 10 ms on a CPU" in checked.shown
    assert set(verdicts(checked).values()) == {"holds"}
    pd.DataFrame(rows[1:2]).to_csv(copy / "speed" / "results.csv", index=False)
    with pytest.raises(DataError, match="none of cid_tiny"):
        make_card(run_of(copy), speed=copy / "speed")


def test_result_files_and_upper_bounds_have_cards_too(copy: Path) -> None:
    results = run_of(copy) / "predictions.json"
    dataset = {"dataset": "coco", "data_root": copy / "data", "runs": copy / "others"}
    scored = posebench.evaluate(predictions=results, name="theirs", **dataset)  # type: ignore[arg-type]
    bound = posebench.evaluate("cid_tiny", oracle=True, **dataset)  # type: ignore[arg-type]
    assert scored.folder is not None and bound.folder is not None
    card = make_card(scored.folder)
    assert (card.model.kind, card.model.name, card.model.weights) == ("file", "theirs", None)
    assert verdicts(check(scored.folder)) == {"data": "holds", "scored again": "holds"}
    assert make_card(bound.folder).model.kind == "oracle"
    assert set(verdicts(check(bound.folder)).values()) == {"holds"}


def test_a_dataset_of_ones_own_is_named_and_not_by_its_path(copy: Path) -> None:
    [annotations] = (copy / "data").rglob("*val*.json")
    scored = posebench.evaluate(
        predictions=run_of(copy) / "predictions.json", name="theirs", dataset=str(annotations),
        skeleton="coco", runs=copy / "others",
    )  # fmt: skip
    assert scored.folder is not None
    card = make_card(scored.folder, copy / "handed")
    name = scored.dataset.name
    assert card.dataset == name
    assert (copy / "handed" / card.evaluation.dataset).resolve() == annotations
    text = (copy / "handed" / "README.md").read_text()
    [result] = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]
    assert result["dataset"]["name"] == f"{name} {scored.dataset.split}"
    assert str(annotations.parent.name) not in result["dataset"]["type"]
    assert verdicts(check(copy / "handed")) == {"data": "holds", "scored again": "holds"}


def test_a_folder_of_a_datasets_name_is_not_taken_for_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "coco").mkdir()
    monkeypatch.chdir(copy)
    assert make_card(run_of(copy)).evaluation.dataset == "coco"


def test_part_of_a_dataset_stays_part_of_it(copy: Path) -> None:
    run = posebench.evaluate(
        copy / "tiny.safetensors", "coco", data_root=copy / "data", device="cpu", limit=2,
        runs=copy / "few",
    )  # fmt: skip
    assert run.folder is not None
    card = make_card(run.folder)
    assert (card.evaluation.split, card.evaluation.limit, card.images) == ("val", 2, 2)
    assert "coco val[:2], 2 images" in (run.folder / "README.md").read_text()
    assert set(verdicts(check(run.folder)).values()) == {"holds"}


def test_runs_of_earlier_versions_have_a_card_of_what_they_say(copy: Path) -> None:
    run = run_of(copy)
    (run / "evaluation.json").unlink()
    rows = pd.read_csv(run / "results.csv")
    old = list(rows.columns)[: list(rows.columns).index("low")]
    rows[old].to_csv(run / "results.csv", index=False)
    card = make_card(run)
    assert card.protocol_version is None and card.model.weights is None
    checked = check(run, Given(data_root=copy / "data"))
    assert verdicts(checked)["scored again"] == "holds"
    assert "names no weights" in note(checked, "predicted again")
    assert any("version of the protocol" in line for line in checked.differences)


def test_a_folder_without_an_evaluation_has_no_card(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"posebench eval.*evaluate the model first"):
            make_card(folder)


def test_another_version_of_the_protocol_is_named(copy: Path) -> None:
    run = run_of(copy)
    card: Card = make_card(run)
    (run / "card.json").write_text(replace(card, protocol_version=PROTOCOL_VERSION + 1).text())
    checked = check(run, predict=False)
    expected = f"protocol version {PROTOCOL_VERSION + 1}, here {PROTOCOL_VERSION}"
    assert expected in checked.differences


def test_what_computed_the_network_is_part_of_the_card(copy: Path, tmp_path: Path) -> None:
    """A file of another runtime is copied under its own ending, and predicts again."""
    exported = tmp_path / "exported.pt2"
    posebench.export("pifpaf_tiny", exported, format="pt2", size=(64, 64), batch=1)
    run = posebench.evaluate(
        exported, "coco", data_root=copy / "data", device="cpu", runs=copy / "others"
    )
    assert run.folder is not None
    card = make_card(run.folder, copy / "handed")
    assert card.evaluation.backend == "torch.export"
    assert card.model.weights is not None and card.model.weights.file == "pifpaf_tiny.pt2"
    assert "computed by | torch.export" in (copy / "handed" / "README.md").read_text()
    checked = check(copy / "handed", Given(data_root=copy / "data"))
    assert set(verdicts(checked).values()) == {"holds"}, [part.note for part in checked.parts]
    assert checked.differences == ()
    assert make_card(run_of(copy)).evaluation.backend == "torch"


@WITH_ONNX
def test_a_checkpoint_on_another_backend_keeps_its_weights_in_the_card(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_CACHE", str(copy / "cache"))
    run = posebench.evaluate(
        copy / "tiny.safetensors", "coco", data_root=copy / "data", backend="onnxruntime",
        flip=False, runs=copy / "others",
    )  # fmt: skip
    assert run.folder is not None
    card = make_card(run.folder, copy / "handed")
    assert card.evaluation.backend == "onnxruntime"
    assert "onnxruntime" in card.evaluation.environment.packages
    assert "openvino" not in card.evaluation.environment.packages
    assert card.sha256 == make_card(run_of(copy)).sha256  # not that of the file in the cache
    assert card.model.weights is not None and card.model.weights.file == "cid_tiny.safetensors"
    checked = check(copy / "handed", Given(data_root=copy / "data"))
    assert set(verdicts(checked).values()) == {"holds"}


def test_times_of_another_backend_are_called_so(copy: Path) -> None:
    row = {"recipe": "cid_tiny", "metric": "latency_p50", "unit": "ms", "protocol": "forward",
           "hardware": "a CPU", "precision": "fp32"}  # fmt: skip
    rows = [{**row, "backend": name, "value": value} for name, value in
            (("torch", 10.0), ("onnxruntime", 8.0))]  # fmt: skip
    (copy / "speed").mkdir()
    pd.DataFrame(rows).to_csv(copy / "speed" / "results.csv", index=False)
    make_card(run_of(copy), speed=copy / "speed")
    page = (run_of(copy) / "README.md").read_text()
    assert "| latency_p50 | 10 ms" in page and "| latency_p50 (onnxruntime) | 8 ms" in page
    shown = check(run_of(copy), predict=False).shown
    assert "latency_p50 (onnxruntime) 8 ms on a CPU" in shown
