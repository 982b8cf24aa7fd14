"""What users get wrong: one sentence on stderr, the documented exit code, and nothing lost.

Exit codes: 0 success, 1 runtime, 2 usage, 3 data, 4 model or checkpoint.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import posebench.cli.models
import posebench.engine
from posebench.engine import read_checkpoint, read_log
from posebench.errors import DataError, UsageError
from tests.cli.command import TINY, Result, only, run

RUNTIME, USAGE, DATA, MODEL = 1, 2, 3, 4

EVAL = ("--dataset", "coco", "--workers", "0", "--device", "cpu")
TRAIN = ("train", "cid_tiny", "--dataset", "coco", *TINY)


def fails(result: Result, code: int, *words: str) -> str:
    """Check that a command failed as it should, and return its message."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    assert result.err.rstrip().endswith(errors[0])  # the last thing said
    message = errors[0].removeprefix("error: ")
    for word in words:
        assert word in message
    return message


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def data(root: Path, tmp_path: Path) -> Path:
    """Return a data root of the test's own, to damage."""
    return Path(shutil.copytree(root, tmp_path / "data"))


def annotation_file(data: Path, split: str = "val") -> Path:
    return data / "coco" / "annotations" / f"person_keypoints_{split}2017.json"


def change(path: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def without_people(content: Any) -> None:
    content["annotations"] = []


# ------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize(
    ("dataset", "source", "layout"),
    [
        ("coco", "https://cocodataset.org", "coco/annotations/person_keypoints_"),
        ("crowdpose", "https://github.com/", "crowdpose/annotations/crowdpose_"),
    ],
)
@pytest.mark.parametrize("command", ["train", "eval"])
def test_a_missing_dataset_is_told_with_its_source_and_layout(
    command: str, dataset: str, source: str, layout: str
) -> None:
    words = {
        "train": ("train", "cid_tiny", "--dataset", dataset, *TINY),
        "eval": ("eval", "cid", "--oracle", "--dataset", dataset),
    }
    result = run(*words[command], "--data-root", "nowhere")
    fails(result, DATA, f"nowhere/{dataset}", source, layout, "--data-root")
    assert not Path("runs").exists()


def test_missing_annotations_are_told_with_the_layout(data: Path) -> None:
    annotation_file(data).unlink()
    result = run("eval", "cid", "--oracle", *EVAL, "--data-root", data)
    fails(result, DATA, "person_keypoints_val2017.json is not there", "--annotations")


def test_a_truncated_annotation_file_is_told(data: Path) -> None:
    path = annotation_file(data)
    path.write_text(path.read_text()[:400])
    result = run("eval", "cid", "--oracle", *EVAL, "--data-root", data)
    fails(result, DATA, path.name, "cut short")


@pytest.mark.parametrize("field", ["keypoints", "bbox", "area"])
def test_nan_in_annotations_is_told_with_its_annotation(data: Path, field: str) -> None:
    def spoil(content: Any) -> None:
        if field == "area":
            content["annotations"][1]["area"] = float("nan")
        else:
            content["annotations"][1][field][0] = float("nan")

    change(annotation_file(data), spoil)
    result = run("eval", "cid", "--oracle", *EVAL, "--data-root", data)
    fails(result, DATA, "annotation 2", field, "nan")


def test_nothing_to_train_on_is_told(data: Path) -> None:
    change(annotation_file(data, "train"), without_people)
    fails(run(*TRAIN, "--data-root", data), DATA, "3 images", "nothing to train on")


def test_nothing_to_find_is_no_error(trained: Path, data: Path) -> None:
    change(annotation_file(data), without_people)
    result = run("eval", trained, *EVAL, "--data-root", data)
    assert result.code == 0, result.err
    assert "–" in result.out
    assert "-100" not in result.out
    tidy = run("eval", trained, *EVAL, "--data-root", data, "--json")
    assert {row["value"] for row in json.loads(tidy.out)["rows"]} == {None}


def test_training_with_nothing_to_find_is_no_error(data: Path) -> None:
    change(annotation_file(data), without_people)
    result = run(*TRAIN, "--data-root", data)
    assert result.code == 0, result.err
    assert "-100" not in result.out + result.err


def damage(data: Path, split: str, how: str) -> Path:
    """Spoil the first image of a split and return it."""
    image = sorted((data / "coco" / f"{split}2017").glob("*.jpg"))[0]
    if how == "absent":
        image.unlink()
    else:
        image.write_bytes({"truncated": image.read_bytes()[:-900], "empty": b"", "text": b"?"}[how])
    return image


@pytest.mark.parametrize("how", ["absent", "truncated", "empty", "text"])
def test_an_unreadable_image_is_counted_and_the_evaluation_goes_on(
    trained: Path, data: Path, how: str
) -> None:
    image = damage(data, "val", how)
    result = run("eval", trained, *EVAL, "--data-root", data)
    assert result.code == 0, result.err
    assert "AP50" in result.out
    assert result.err.count(str(image)) == 1
    assert "1 of 2 images could not be read" in result.err


@pytest.mark.parametrize("how", ["absent", "truncated"])
def test_an_unreadable_image_is_named_and_the_training_goes_on(data: Path, how: str) -> None:
    image = damage(data, "train", how)
    result = run(*TRAIN, "--data-root", data)
    assert result.code == 0, result.err
    assert result.err.count(str(image)) == 1
    folder = only(Path("runs"), "train/*")
    assert str(image) in next(e["unreadable"] for e in read_log(folder) if "unreadable" in e)
    assert read_checkpoint(folder).facts["step"] == 1


@pytest.mark.parametrize("how", ["absent", "truncated"])
def test_strict_stops_at_an_unreadable_image(trained: Path, data: Path, how: str) -> None:
    image = damage(data, "val", how)
    evaluated = run("eval", trained, *EVAL, "--data-root", data, "--strict")
    fails(evaluated, DATA, str(image))
    image = damage(data, "train", how)
    fails(run(*TRAIN, "--data-root", data, "--strict"), DATA, str(image))


def test_images_that_are_all_absent_are_an_error(trained: Path, data: Path) -> None:
    shutil.rmtree(data / "coco" / "val2017")
    result = run("eval", trained, *EVAL, "--data-root", data)
    fails(result, DATA, "None of the 2 images", "000000000001.jpg is not there")


def test_brackets_in_a_path_are_shown(trained: Path, data: Path) -> None:
    odd = data.rename(data.with_name("data [old]"))
    image = damage(odd, "val", "absent")
    assert str(image) in run("eval", trained, *EVAL, "--data-root", odd).err


def test_a_result_file_with_nan_is_told(root: Path) -> None:
    entry = {"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51, "score": float("nan")}
    Path("nan.json").write_text(json.dumps([entry]))
    result = run("eval", "--predictions", "nan.json", *EVAL, "--data-root", root)
    fails(result, DATA, "score", "entry 0", "nan")


def test_a_result_file_of_another_keypoint_set_is_told(root: Path) -> None:
    entry = {"image_id": 1, "category_id": 1, "keypoints": [1.0] * 42, "score": 0.5}
    Path("crowdpose.json").write_text(json.dumps([entry]))
    result = run("eval", "--predictions", "crowdpose.json", *EVAL, "--data-root", root)
    fails(result, DATA, "17", "14", "entry 0")


# -------------------------------------------------------------------------- models and checkpoints


@pytest.fixture
def crowdpose() -> Path:
    """Return a data root with a CrowdPose of two images, half of it people."""
    assert run("data", "synth", "data", "--layout", "crowdpose", "--images", "3", "--size", "64",
               "--crowd", "0").code == 0  # fmt: skip
    return Path("data")


def test_a_recipe_of_another_keypoint_set_is_refused(crowdpose: Path) -> None:
    words = ("--dataset", "crowdpose", "--data-root", crowdpose)
    message = fails(run("train", "cid_hrnet_w32_coco", *words), MODEL, "14", "17", "cid_hrnet_w32")
    assert "posebench train cid --dataset crowdpose" in message
    fails(run("eval", "cid_hrnet_w32_coco", "--oracle", *words), MODEL, "14", "17")
    assert not Path("runs").exists()


def test_a_checkpoint_of_another_keypoint_set_is_refused(trained: Path, crowdpose: Path) -> None:
    result = run("eval", trained, "--dataset", "crowdpose", "--data-root", crowdpose)
    fails(result, MODEL, "14", "17", "best.safetensors", "posebench train cid --dataset crowdpose")


@pytest.mark.parametrize(
    ("change", "named"),
    [(("--set", "lr=0.5"), "different: lr"), (("--seed", "7"), "--seed 0")],
    ids=["recipe", "seed"],
)
def test_a_run_of_another_recipe_or_seed_is_not_resumed(
    trained: Path, root: Path, change: tuple[str, ...], named: str
) -> None:
    before = contents(trained)
    result = run(*TRAIN, *change, "--data-root", root, "--resume", trained)
    fails(result, MODEL, named)
    assert contents(trained) == before


def test_a_folder_that_is_no_run_is_not_resumed(root: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    fails(run(*TRAIN, "--data-root", root, "--resume", "mine"), MODEL, "mine", "run folder")
    assert contents(Path("mine")) == {"notes.txt": b"keep me"}


def test_a_model_that_is_not_there_is_told(root: Path) -> None:
    fails(run("eval", "nothing", *EVAL, "--data-root", root), MODEL, "nothing", "found nothing")
    recipe = "cid_hrnet_w32_crowdpose"
    fails(run("eval", recipe, *EVAL, "--data-root", root), MODEL, recipe, "posebench train")
    recipe = "cid_hrnet_w32_coco@mmpose0"
    fails(run("eval", recipe, *EVAL, "--data-root", root), MODEL, recipe, "put it into")


def test_a_truncated_checkpoint_is_told(trained: Path, root: Path) -> None:
    whole = (trained / "checkpoints" / "last.safetensors").read_bytes()
    for size in (0, 4, 2000, len(whole) - 1):
        Path("cut.safetensors").write_bytes(whole[:size])
        result = run("eval", "cut.safetensors", *EVAL, "--data-root", root)
        fails(result, MODEL, "cut.safetensors", "damaged or cut short")


def test_a_published_checkpoint_is_first_to_be_imported(root: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, "published.pth")
    result = run("eval", "published.pth", *EVAL, "--data-root", root)
    fails(result, MODEL, "published.pth", "posebench weights import")


def test_a_state_dict_of_another_network_is_refused_with_what_differs() -> None:
    torch.save({"backbone.conv1.weight": torch.zeros(2, 3), "other": torch.zeros(1)}, "x.pth")
    Path("weights").mkdir()
    kept = Path("weights/cid_hrnet_w32_coco.safetensors")
    kept.write_bytes(b"mine")
    result = run("weights", "import", "x.pth", "--recipe", "cid_hrnet_w32_coco")
    fails(result, MODEL, "x.pth does not fit", "is missing", "Choose the recipe")
    assert kept.read_bytes() == b"mine"
    assert list(Path("weights").iterdir()) == [kept]


class RunsCode:
    """A pickle of this creates a file when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_here"),)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_a_pickle_that_runs_code_is_refused_unrun(root: Path, protocol: str) -> None:
    evil = {"state_dict": {"weight": RunsCode()}}
    if protocol == "torch":
        torch.save(evil, "evil.pth")
    else:
        Path("evil.pth").write_bytes(pickle.dumps(evil, protocol=2))
    pickle.loads(pickle.dumps(RunsCode()))
    assert Path("was_here").exists()  # so that the test can fail
    Path("was_here").unlink()
    imported = run("weights", "import", "evil.pth", "--recipe", "cid_hrnet_w32_crowdpose")
    fails(imported, MODEL, "evil.pth", "would run code", "refused")
    fails(run("eval", "evil.pth", *EVAL, "--data-root", root), MODEL, "evil.pth")
    fails(run("viz", "evil.pth", "--model", "evil.pth"), MODEL, "evil.pth")
    assert not Path("was_here").exists()


def test_drawing_without_a_trained_run_names_what_to_do() -> None:
    Path("image.jpg").write_bytes(b"")
    message = fails(run("viz", "image.jpg"), MODEL, "--model cid_tiny", "posebench train")
    assert message.count(". ") == 0


# ------------------------------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("train", "cid_tinny", "--dataset", "coco"), "cid_tiny"),
        (("train", "cidd", "--dataset", "coco"), "cid"),
        (("train", "cid_tiny", "--dataset", "cocoo"), "coco"),
        (("eval", "cid", "--oracle", "--dataset", "crowdpse"), "crowdpose"),
        (("eval", "cid", "--oracle", "--split", "vall"), "val"),
        (("train", "cid_tiny", "--dataset", "crowdpose", "--split", "trainvl"), "trainval"),
        (("train", "cid_tiny", "--dataset", "coco", "--precision", "bf61"), "bf16"),
        (("eval", "cid", "--oracle", "--precision", "fp23"), "fp32"),
        (("train", "cid_tiny", "--dataset", "coco", "--set", "epoch=3"), "epochs"),
        (("train", "cid_tiny", "--dataset", "coco", "--set", "embeding=8"), "embedding"),
        (("train", "cid_tiny", "--dataset", "coco", "--set", "augment.sise=64"), "size"),
        (("eval", "cid", "--oracle", "--set", "inference.flop=false"), "flip"),
        (("weights", "import", "x.pth", "--recipe", "cid_hrnet_w32_coc"), "cid_hrnet_w32_coco"),
        (("data", "synth", "OUT", "--layout", "crowpose"), "crowdpose"),
    ],
    ids=lambda value: "-".join(value[-2:]) if isinstance(value, tuple) else value,
)
def test_a_misspelt_name_is_answered_with_the_nearest(
    root: Path, words: tuple[str, ...], meant: str
) -> None:
    place = ("--data-root", root) if words[0] in ("train", "eval") else ()
    fails(run(*words, *place), USAGE, f"Did you mean {meant}?")
    assert not Path("runs").exists()
    assert not Path("OUT").exists()


def test_a_misspelt_model_is_answered_with_the_nearest() -> None:
    fails(run("eval", "cid_tinny"), MODEL, "Did you mean cid_tiny?")
    assert not Path("runs").exists()


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    result = run("trian")
    assert result.code == USAGE
    assert "train" in result.err


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("epochs=many", "epochs"),
        ("epochs=0", "epochs"),
        ("schedule=sine", "cosine"),
        ("optimizer=lion", "adamw"),
        ("lr", "field=value"),
        ("name=mine", "name"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(root: Path, assignment: str, named: str) -> None:
    fails(run(*TRAIN, "--data-root", root, "--set", assignment), USAGE, named)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("run", "--predictions", "results.json"),
        ("--oracle",),
        ("--oracle", "--predictions", "results.json"),
    ],
    ids=["neither", "both", "oracle of nothing", "oracle of a file"],
)
def test_eval_wants_one_thing_to_score(words: tuple[str, ...]) -> None:
    fails(run("eval", *words), USAGE)


def test_a_result_file_has_no_settings() -> None:
    Path("results.json").write_text("[]")
    result = run("eval", "--predictions", "results.json", "--dataset", "coco", "--set", "lr=1")
    fails(result, USAGE, "--set changes a recipe")


def test_a_result_file_needs_its_dataset_named() -> None:
    Path("results.json").write_text("[]")
    fails(run("eval", "--predictions", "results.json"), USAGE, "--dataset")


def test_a_device_that_is_not_there_is_told(root: Path) -> None:
    for device in ("cuda:99", "gpu"):
        result = run(*TRAIN, "--data-root", root, "--device", device)
        fails(result, USAGE, device)


# ---------------------------------------------------------------------------------------- runtime


@pytest.mark.parametrize("place", ["runs", "runs/train"])
def test_a_folder_that_cannot_be_written_is_told(root: Path, place: str) -> None:
    # A file in the folder's place, as permissions do not stop root.
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text("a file")
    fails(run(*TRAIN, "--data-root", root), RUNTIME, "cannot be written", "choose another folder")
    assert Path(place).read_text() == "a file"


def test_an_evaluation_that_cannot_be_written_does_not_begin(
    trained: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*arguments: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(posebench.engine, "evaluate", begun)
    Path("runs").write_text("a file")
    result = run("eval", trained, *EVAL, "--data-root", root)
    fails(result, RUNTIME, "cannot be written")


def test_pictures_do_not_replace_the_images_they_are_of(trained: Path, data: Path) -> None:
    folder = data / "coco" / "val2017"
    (picture,) = [path.rename(path.with_suffix(".png")) for path in sorted(folder.iterdir())[:1]]
    before = contents(folder)
    for source in (folder, picture):
        fails(run("viz", source, "--model", trained, "--out", folder), USAGE, "--out")
    fails(run("viz", picture, "--model", trained, "--out", picture), USAGE, "--out")
    fails(run("viz", folder, "--model", trained, "--out", "all.png"), USAGE, "name a folder")
    assert contents(folder) == before


def test_drawing_goes_on_after_an_unreadable_image(trained: Path, data: Path) -> None:
    image = damage(data, "val", "truncated")
    result = run("viz", image.parent, "--model", trained, "--out", "pictures")
    assert result.code == 0
    assert result.err.count(str(image)) == 1
    assert "1 of 2 images" in result.err
    assert len(list(Path("pictures").iterdir())) == 1
    fails(run("viz", image, "--model", trained), DATA, str(image))


def test_debug_shows_the_traceback() -> None:
    words = ("eval", "cid", "--oracle", "--data-root", "nowhere")
    for line in (("--debug", *words), (*words, "--debug")):
        with pytest.raises(DataError, match="nowhere/coco"):
            run(*line)
    with pytest.raises(UsageError):
        run("eval", "--debug")


def test_an_error_that_nobody_expected_is_one_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(posebench.cli.models, "print_rows", broken)
    monkeypatch.setattr(
        "posebench.bench.flops.cache.describe", lambda recipe: {"recipe": recipe.name}
    )
    fails(run("models", "--json"), RUNTIME, "KeyError", "surprise", "--debug")
    with pytest.raises(KeyError):
        run("models", "--json", "--debug")


def test_files_of_a_finished_run_survive_a_failed_evaluation(trained: Path, data: Path) -> None:
    before = contents(trained)
    path = annotation_file(data)
    path.write_text(path.read_text()[:300])
    fails(run("eval", trained, *EVAL, "--data-root", data), DATA)
    assert contents(trained) == before


@pytest.mark.parametrize("model", ["cid", "posedet_dla34_coco"])
def test_a_model_without_weights_is_answered_by_ways_to_get_them(model: str) -> None:
    result = run("eval", model, "--dataset", "coco")
    assert result.code == 4
    for way in (f"posebench train {model} ", "weights import", "--oracle"):
        assert way in result.err


def test_a_result_file_is_no_model() -> None:
    Path("mine.json").write_text("[]")
    result = run("eval", "mine.json", "--dataset", "coco")
    assert result.code == 4
    assert "--predictions mine.json" in result.err


def test_an_unknown_dataset_says_how_to_bring_images() -> None:
    result = run("train", "cid", "--dataset", "factory")
    assert result.code == 2
    assert "crowdpose" in result.err
    assert "the path of its dataset.toml, annotation file or folder" in result.err
