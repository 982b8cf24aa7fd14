"""The weights in the package: complete, small, and as good as their cards say."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import posebench
from posebench import engine
from posebench.bench.packing import half_precision, pack_weights
from posebench.card import card_from_json
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import data_hash
from posebench.errors import ModelError
from posebench.metrics import main_metric
from posebench.models import RECIPES
from posebench.shipped import FOLDER, read_card, shipped_names, shipped_weights
from posebench.skeleton import COCO
from tests.runs.unpack import unpack

MEGABYTE = 1e6


def test_the_files_are_small() -> None:
    sizes = [path.stat().st_size for path in FOLDER.glob("*.safetensors")]
    assert max(sizes, default=0) <= 6 * MEGABYTE
    assert sum(sizes) <= 45 * MEGABYTE


def test_every_tiny_recipe_has_weights_and_a_card() -> None:
    tiny = {name for name in RECIPES if name.endswith("_tiny")}
    assert set(shipped_names()) == tiny
    assert {path.stem for path in FOLDER.glob("*.json")} == tiny


@pytest.mark.parametrize("recipe", shipped_names())
def test_weights_reach_the_ap_of_their_card(recipe: str) -> None:
    card = read_card(recipe)
    path = shipped_weights(recipe)
    assert path is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card.sha256
    assert card.ap_low < card.ap < card.ap_high
    assert card.command.startswith(f"posebench train {recipe} --dataset {card.dataset}")
    assert card.first_images is not None
    model = posebench.load_model(recipe, device="cpu")
    images = SyntheticCrowds(model.skeleton, card.split, length=card.first_images.images)
    ap = main_metric(posebench.evaluate(model, images).metrics)[1]
    assert ap == pytest.approx(card.first_images.value, abs=0.005)


@pytest.mark.parametrize("recipe", shipped_names())
def test_parameters_are_stored_in_half_precision(recipe: str) -> None:
    checkpoint = engine.find_model(recipe)
    parameters = dict(checkpoint.model().named_parameters())
    assert {checkpoint.weights[name].dtype for name in parameters} == {torch.float16}
    assert {value.dtype for value in parameters.values()} == {torch.float32}


def test_a_folder_of_the_recipes_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cid_tiny").mkdir()
    with pytest.raises(ModelError, match="folder without checkpoints"):
        posebench.load_model("cid_tiny")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    unpack(Path(__file__).parent / "runs" / "cid_tiny", tmp_path / "run")
    return tmp_path / "run"


def test_packing_keeps_the_weights_to_half_precision(finished: Path, tmp_path: Path) -> None:
    best = engine.read_checkpoint(finished)
    images = SyntheticCrowds(best.skeleton, "val", length=3, size=64)
    card = pack_weights(finished, images, tmp_path / "packed")
    packed = engine.read_checkpoint(tmp_path / "packed" / "cid_tiny.safetensors")
    assert packed.recipe == best.recipe
    for name, value in best.weights.items():
        torch.testing.assert_close(
            packed.weights[name].to(value.dtype), value, rtol=1e-3, atol=1e-7
        )
    size = (tmp_path / "packed" / "cid_tiny.safetensors").stat().st_size
    assert size < 0.6 * (finished / "checkpoints" / "best.safetensors").stat().st_size
    written = json.loads((tmp_path / "packed" / "cid_tiny.json").read_text())
    assert written == json.loads(card.text())
    assert card_from_json(written, Path("written")) == card
    assert card.first_images is not None
    assert card.images == 3 and card.first_images.images == 3
    assert card.first_images.value == card.main[1]
    assert card.evaluation.data_hash == data_hash(images)
    assert card.evaluation.environment.packages["torch"] == version("torch")
    assert card.commit == "7b01f22"
    assert "--runs" not in card.command


def test_variances_of_batch_norms_keep_their_range(finished: Path) -> None:
    best = engine.read_checkpoint(finished)
    name = next(name for name in best.weights if name.endswith("running_var"))
    best.weights[name].fill_(1e6)  # beyond float16
    assert half_precision(best)[name].max() == 1e6


def test_only_a_trainings_folder_can_be_packed(finished: Path, tmp_path: Path) -> None:
    (finished / "environment.json").unlink()
    with pytest.raises(ModelError, match="run folder of a training"):
        pack_weights(finished, SyntheticCrowds(COCO, "val", length=1), tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
