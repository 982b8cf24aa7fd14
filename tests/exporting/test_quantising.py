"""INT8 files by the runtimes' own quantisers."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import torch

from posebench.engine import find_model
from posebench.engine.exported import read_exported
from posebench.errors import UnsupportedError
from posebench.exporting import Card, files, open_session, quantising
from posebench.exporting.card import SUFFIXES
from posebench.exporting.files import write_network
from posebench.exporting.program import GraphModule
from posebench.exporting.quantising import quantise
from posebench.exporting.writing import check_images
from posebench.preprocess import scaled_batches
from tests.exporting.networks import needs, traced_network


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_convolutions_in_int8_are_smaller_and_near(format: str, tmp_path: Path) -> None:
    needs(format, *(["nncf"] if format == "openvino" else []))
    model, card, program = traced_network("pifpaf_tiny")
    source, path = (tmp_path / f"{name}{SUFFIXES[format]}" for name in ("float32", "int8"))
    write_network(program, card, source)
    samples = check_images(card.recipe, 2)
    quantised = quantise(source, card, path, samples)
    assert quantised.weights == "int8"
    assert read_exported(path).card == quantised
    sizes = [own.with_suffix(".bin") if format == "openvino" else own for own in (source, path)]
    assert sizes[1].stat().st_size < 0.4 * sizes[0].stat().st_size

    [(_, [batch])] = scaled_batches(samples[:1], card.used_recipe.inference)
    with torch.inference_mode():
        expected = GraphModule(model, flip=False)(batch.images)
    found = open_session(path, quantised)(batch.images)
    # Ranges come from two images: the maps have their peaks where they were, and other values.
    for name, values in expected.items():
        both = torch.stack([values.flatten(), found[name].flatten()]).double()
        assert torch.corrcoef(both)[0, 1] > 0.95, name
    assert any(not torch.allclose(found[name], values) for name, values in expected.items())


def test_a_format_without_a_quantiser_is_one_sentence(tmp_path: Path) -> None:
    _, card, _ = traced_network("pifpaf_tiny")
    with pytest.raises(UnsupportedError, match="choose --format onnx, or openvino"):
        quantise(tmp_path / "x.pt2", card, tmp_path / "y.pt2", [])


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_quantiser_that_fails_leaves_the_earlier_file(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, card, _ = traced_network("pifpaf_tiny")
    path = tmp_path / f"int8{SUFFIXES[format]}"
    path.write_text("earlier")

    def fails(model: object, target: str, *_: object, **options: object) -> None:
        Path(target).write_text("half")
        raise RuntimeError("no space left")

    library = mock.MagicMock(quantize_static=fails, save_model=fails)
    library.CalibrationDataReader = object
    for module in (files, quantising):
        monkeypatch.setattr(module, "required", lambda *_: library)
    with pytest.raises(UnsupportedError, match="no space left"):
        quantise(path, card, path, [])
    assert [own.name for own in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "earlier"


def test_every_image_of_a_fixed_batch_has_its_padding() -> None:
    """Without it, ranges were measured on padding that the network takes for the image."""
    recipe = find_model("group_pose_tiny").recipe
    card = Card(recipe, ("logits",), size=(128, 256), batch=2, reads_padding=True)
    [feeds] = quantising._inputs(card, check_images(recipe, 1))  # 256 x 192: the right is padded
    assert feeds["images"].shape == (2, 3, 128, 256)
    assert feeds["padding"].shape == (2, 128, 256)
    assert feeds["padding"].any(axis=(1, 2)).all() and not feeds["padding"].all()
