"""Exported networks: every family in every runtime that is installed, read back and compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

import posebench
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import find_model
from posebench.engine.exported import ExportedCheckpoint, read_exported
from posebench.errors import ModelError, UnsupportedError, UsageError
from posebench.exporting import compare, open_session
from posebench.exporting.card import SUFFIXES, Card
from posebench.exporting.files import required, write_network
from posebench.exporting.program import Program
from posebench.exporting.writing import Exported, check_images
from posebench.shipped import shipped_names
from posebench.structures import Sample
from tests.exporting.networks import needs, traced_network

FAMILIES = sorted(shipped_names())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("format", SUFFIXES)
def test_every_family_computes_in_every_runtime_what_it_does_in_pytorch(
    name: str, format: str, tmp_path: Path
) -> None:
    needs(format)
    model, card, program = traced_network(name, format)
    path = tmp_path / f"network{SUFFIXES[format]}"
    write_network(program, card, path)
    read = read_exported(path)
    assert read.card == card
    agreement = compare(model, card, open_session(path, card), check_images(card.recipe, 2))
    assert agreement.people > 0
    assert agreement.equal, str(agreement)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A network of any size and batch; PyTorch's own format needs no further library."""
    path = tmp_path_factory.mktemp("exported") / "higher.pt2"
    return posebench.export("higher_hrnet_tiny", path, format="pt2")


@pytest.fixture(scope="module")
def loaded(exported: Exported) -> posebench.Model:
    return posebench.load_model(exported.path)


def test_a_file_of_any_size_predicts_what_its_checkpoint_does(
    exported: Exported, loaded: posebench.Model
) -> None:
    assert exported.agreement.equal
    images = [crowd().image, crowd().image[:200], crowd().image[:, 40:]]
    expected = posebench.load_model("higher_hrnet_tiny").predict(images)
    found = loaded.predict(images)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other) > 0
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.01)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_a_file_is_drawn_with_its_heatmaps(loaded: posebench.Model) -> None:
    people, maps = loaded.explain(crowd().image)
    assert maps.people.shape[:2] == (len(people), 17)
    assert repr(loaded).endswith("torch.export)")


def test_a_file_is_evaluated_like_its_checkpoint(exported: Exported) -> None:
    one, other = (
        posebench.evaluate(model, "synthetic", limit=2)
        for model in (exported.path, "higher_hrnet_tiny")
    )
    assert one.metrics["AP"] == pytest.approx(other.metrics["AP"], abs=1e-6)
    assert set(one.rows["recipe"]) == {"higher_hrnet_tiny"}
    assert set(one.rows["backend"]) == {"torch.export"}
    assert set(other.rows["backend"]) == {"torch"}


def test_a_program_without_posebench_can_read_what_the_file_needs(exported: Exported) -> None:
    told = json.loads(exported.card.to_json())
    assert told["keypoints"][0] == "nose"
    assert told["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert told["recipe"]["inference"]["resize"]["short_side"] == 256
    assert told["outputs"] == ["heatmaps_4", "heatmaps_2", "tags"]
    assert Card.from_json(exported.card.to_json(), exported.path) == exported.card


def crowd() -> Sample:
    return SyntheticCrowds(find_model("cid_tiny").skeleton, "val", size=256).load(1)


# ------------------------------------------------------------------------------------------ errors


def test_training_cannot_start_from_a_file(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be trained further"):
        posebench.train("higher_hrnet_tiny", "synthetic", weights=exported.path, runs=tmp_path)


def test_options_that_a_file_cannot_have_are_refused(
    exported: Exported, loaded: posebench.Model
) -> None:
    with pytest.raises(UsageError, match="leave out --precision bf16"):
        posebench.load_model(exported.path, precision="bf16")
    with pytest.raises(UsageError, match="leave out --backend"):
        posebench.load_model(exported.path, backend="openvino")
    with pytest.raises(UsageError, match="exported already"):
        posebench.export(exported.path, "again.pt2", format="pt2")
    with pytest.raises(ModelError, match="follows gradients"):
        loaded.trace(crowd().image, limit=1)


def test_views_that_are_part_of_the_graph_cannot_be_changed() -> None:
    recipe = find_model("cid_tiny").recipe
    card = Card(recipe, (), mirrored=True)
    card.check(recipe, "cid.onnx")
    alone = replace(recipe, inference=replace(recipe.inference, flip=False))
    with pytest.raises(UsageError, match="exported with --flip"):
        card.check(alone, "cid.onnx")
    scaled = replace(recipe, inference=replace(recipe.inference, scales=(0.5, 1.0)))
    with pytest.raises(UsageError, match="for one scale"):
        card.check(scaled, "cid.onnx")


def test_a_fixed_size_pads_the_image(tmp_path: Path) -> None:
    recipe = Card(find_model("cid_tiny").recipe, (), size=(96, 128)).used_recipe
    from posebench.preprocess import scaled_batches

    tall = Sample(np.zeros((200, 100, 3), np.uint8))
    [(_, [batch])] = scaled_batches([tall], recipe.inference)
    assert batch.images.shape == (1, 3, 96, 128)
    assert batch.geometry.sizes.tolist() == [[48, 96]]


def test_a_missing_library_is_one_sentence_and_its_own_exit_code() -> None:
    with (
        mock.patch("posebench.exporting.files.import_module", side_effect=ImportError),
        pytest.raises(UnsupportedError, match=r"pip install 'posebench\[openvino\]'") as caught,
    ):
        required("openvino", "openvino")
    assert caught.value.exit_code == 5


def test_what_a_runtime_cannot_convert_is_one_sentence(tmp_path: Path) -> None:
    needs("onnx")
    checkpoint = find_model("pifpaf_tiny")
    program = mock.Mock(spec=Program, outputs=("a",), example=(torch.zeros(1),), exported=None)
    with pytest.raises(UnsupportedError, match="ONNX cannot express pifpaf_tiny"):
        write_network(program, Card(checkpoint.recipe, ("a",)), tmp_path / "x.onnx")


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_half_precision_halves_the_file(format: str, tmp_path: Path) -> None:
    model, card, program = traced_network("pifpaf_tiny")
    rounded = replace(card, weights="float16")
    with pytest.raises(UnsupportedError, match="keeps weights in float32"):
        write_network(program, rounded, tmp_path / "x.pt2")
    needs(format)
    whole, half = tmp_path / f"whole{SUFFIXES[format]}", tmp_path / f"half{SUFFIXES[format]}"
    write_network(program, card, whole)
    write_network(program, rounded, half)
    assert read_exported(half).card.weights == "float16"
    weights = [path.with_suffix(".bin") if format == "openvino" else path for path in (whole, half)]
    assert weights[1].stat().st_size < 0.6 * weights[0].stat().st_size
    agreement = compare(model, rounded, open_session(half, rounded), check_images(card.recipe, 2))
    assert agreement.people > 0
    assert agreement.distance_px < 1  # rounded weights: near, not equal


@pytest.mark.parametrize("name", ["network.onnx", "network.xml", "network.pt2"])
def test_a_damaged_file_is_one_sentence(name: str, tmp_path: Path) -> None:
    needs({suffix: format for format, suffix in SUFFIXES.items()}[Path(name).suffix])
    (tmp_path / name).write_bytes(b"not a network")
    (tmp_path / "network.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="damaged"):
        read_exported(tmp_path / name)


def test_a_card_of_another_version_is_refused(tmp_path: Path) -> None:
    card = Card(find_model("cid_tiny").recipe, ("a",))
    told = json.loads(card.to_json())
    with pytest.raises(ModelError, match="export it again"):
        Card.from_json(json.dumps({**told, "format_version": 99}), Path("x.onnx"))
    del told["outputs"]
    with pytest.raises(ModelError, match="is damaged"):
        Card.from_json(json.dumps(told), Path("x.onnx"))


def test_a_file_takes_the_place_of_a_checkpoint(exported: Exported) -> None:
    checkpoint = find_model(str(exported.path))
    assert isinstance(checkpoint, ExportedCheckpoint)
    assert checkpoint.trained_on == "synthetic"
    assert checkpoint.backend == "torch.export"
