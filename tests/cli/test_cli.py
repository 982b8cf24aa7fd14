"""Every command as it is meant to be used."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posebench import __version__
from posebench.data.public import public_layouts
from posebench.data.video import open_video
from posebench.engine import read_checkpoint, read_log
from posebench.skeleton import COCO
from tests.builders import read_picture, write_coco
from tests.cli.command import TINY, only, run
from tests.viz.test_video import Camera

COMMANDS = (
    "models", "demo", "train", "eval", "viz", "speed", "flops", "ablate", "tables",
    "card", "verify", "data", "weights",
)  # fmt: skip

# design.md, "Tidy results".
TIDY = (
    "recipe", "method", "backbone", "input_size", "dataset", "split", "tta", "metric", "value",
    "unit", "source", "hardware", "precision", "date", "commit", "low", "high",
    "protocol_version", "recipe_hash", "data_hash", "weights_sha256", "seeds",
    "backend",
)  # fmt: skip


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(text: str) -> list[dict[str, Any]]:
    """Return the tidy rows of a `--json` output, which must be one object."""
    content = json.loads(text)
    assert set(content) == {"schema_version", "rows"}
    assert content["schema_version"] == 1
    rows: list[dict[str, Any]] = content["rows"]
    return rows


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.code == 0
    assert all(command in result.out for command in COMMANDS)
    assert result.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")
    assert result.code == 0
    assert "Usage" in result.out


def test_version_is_the_installed_one() -> None:
    result = run("--version")
    assert (result.code, result.out.strip()) == (0, __version__)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], ["train"]])
def test_torch_is_not_imported_before_a_command_runs(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from posebench.cli import main\n"
        f"sys.argv = ['posebench', *{words!r}]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'pandas', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "    print('HEAVY', sorted(heavy), file=sys.stderr)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "HEAVY []" in found.stderr


def test_no_color_is_honoured() -> None:
    def colours(**variables: str) -> bool:
        code = "from posebench.cli.common import messages, out\n" + "".join(
            f"{console}.print('[red]text[/]')\n" for console in ("messages", "out")
        )
        clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        found = subprocess.run(
            [sys.executable, "-c", code],
            env={**clean, "TERM": "xterm", "FORCE_COLOR": "1", **variables},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return "\x1b[31m" in found.stdout or "\x1b[31m" in found.stderr

    assert colours()
    assert not colours(NO_COLOR="1")


def test_nothing_but_text_is_printed_into_a_pipe(trained: Path, root: Path) -> None:
    result = run("eval", trained, "--data-root", root, "--workers", "0")
    assert "\x1b" not in result.out + result.err


def test_models_are_tidy_rows() -> None:
    result = run("models", "--json")
    assert result.code == 0
    assert result.err == ""
    rows = {row["recipe"]: row for row in rows_of(result.out)}
    assert rows["cid_hrnet_w32_coco"]["params_M"] == pytest.approx(29.4, abs=0.1)
    assert rows["cid_hrnet_w32_coco"]["backbone"] == "hrnet_w32"
    assert rows["cid_hrnet_w48_crowdpose"]["keypoints"] == "crowdpose"
    assert rows["cid_tiny"]["gflops"] > 0
    assert all(
        not isinstance(value, dict | list) for row in rows.values() for value in row.values()
    )


def test_models_are_listed_with_what_the_authors_report() -> None:
    result = run("models")
    assert result.code == 0
    assert "cid_hrnet_w32_crowdpose" in result.out
    [line] = [line for line in result.out.splitlines() if "cid_hrnet_w32_crowdpose" in line]
    assert line.split()[-2:] == ["71.3", "test"]


def test_data_list_tells_which_datasets_are_here(root: Path) -> None:
    result = run("data", "list", "--data-root", root, "--json")
    here = {row["dataset"]: row["here"] for row in rows_of(result.out)}
    files = {"coco": "true", "crowdpose": "false", "mpii": "false", "ochuman": "false"}
    described = {layout.name: "false" for layout in public_layouts()}
    assert here == {**files, "synthetic": "built in", **described}
    table = run("data", "list", "--data-root", root)
    assert table.code == 0
    assert "person_keypoints_{train,val}2017.json" in table.out


def test_data_root_is_found_in_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBENCH_DATA", str(root))
    here = {row["dataset"]: row["here"] for row in rows_of(run("data", "list", "--json").out)}
    assert here["coco"] == "true"
    assert run("eval", "cid", "--oracle", "--json").code == 0


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "ochuman"])
def test_synthetic_data_is_trained_on_and_evaluated(dataset: str, tmp_path: Path) -> None:
    made = run("data", "synth", "OUT", "--images", "6", "--layout", dataset, "--size", "64")
    assert made.code == 0
    assert made.out == ""
    assert f"--dataset {dataset} --data-root OUT" in made.err
    data = ("--dataset", dataset, "--data-root", "OUT")
    result = run("train", "cid_tiny", *data, *TINY)
    assert result.code == 0, result.err
    folder = Path(result.out.splitlines()[-1])
    assert folder == only(Path("runs"), "train/*")
    scored = run("eval", folder, *data, "--workers", "0", "--json")
    assert scored.code == 0, scored.err
    ap = next(row for row in rows_of(scored.out) if row["metric"] == "AP")
    assert ap["value"] == pytest.approx(100 * read(folder / "metrics.json")["AP"])
    assert ap["dataset"] == dataset


def test_a_run_folder_says_all_about_the_run(trained: Path, root: Path) -> None:
    assert trained.name.startswith("cid_tiny_coco_")
    found = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert found == {
        "recipe.json", "request.json", "environment.json", "log.jsonl", "metrics.json",
        "results.csv", "predictions.json", "checkpoints/last.safetensors",
        "checkpoints/best.safetensors", "checkpoints/state-1.pt",
    }  # fmt: skip
    recipe = read(trained / "recipe.json")
    assert (recipe["name"], recipe["skeleton"], recipe["epochs"]) == ("cid_tiny", "coco", 1)
    assert recipe["inference"]["resize"]["short_side"] == 64
    environment = read(trained / "environment.json")
    assert environment["command"][1:3] == ["train", "cid_tiny"]
    assert {"torch", "posebench", "timm"} <= set(environment["packages"])
    assert "commit" in environment
    assert [entry["step"] for entry in read_log(trained) if "loss" in entry] == [1]
    assert read_checkpoint(trained).skeleton == COCO


def test_results_are_tidy(trained: Path) -> None:
    with (trained / "results.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames or ()) == TIDY
    metrics = read(trained / "metrics.json")
    assert [row["metric"] for row in rows] == list(metrics)
    first = rows[0]
    assert (first["recipe"], first["method"], first["backbone"]) == (
        "cid_tiny",
        "cid",
        "hrnet_tiny",
    )
    assert (first["dataset"], first["split"], first["tta"]) == ("coco", "val", "flip")
    assert (first["unit"], first["source"], first["precision"]) == ("percent", "measured", "fp32")
    for row in rows:
        nothing = metrics[row["metric"]] < 0
        assert row["value"] == "" if nothing else float(row["value"]) >= 0
        assert (row["low"] == "") == (row["metric"] != "AP")
    assert float(first["low"]) <= float(first["value"]) <= float(first["high"])
    best = trained / "checkpoints" / "best.safetensors"
    assert first["weights_sha256"] == hashlib.sha256(best.read_bytes()).hexdigest()
    assert first["seeds"] == "training 0, bootstrap 0"


def test_an_evaluation_of_a_training_names_the_same_recipe_data_and_weights(
    trained: Path, root: Path
) -> None:
    result = run("eval", trained, "--data-root", root, "--workers", "0")
    assert "interval of AP: " in " ".join(result.out.split())
    assert "bootstrap over 2 images" in " ".join(result.out.split())
    with (trained / "results.csv").open(newline="") as file:
        before = next(csv.DictReader(file))
    with only(Path("runs"), "eval/*/results.csv").open(newline="") as file:
        after = next(csv.DictReader(file))
    origin = TIDY[TIDY.index("low") :]
    assert {name: after[name] for name in origin} == {name: before[name] for name in origin}
    other = rows_of(run("eval", trained, "--data-root", root, "--no-flip", "--json").out)[0]
    assert other["recipe_hash"] != after["recipe_hash"]
    assert other["weights_sha256"] == after["weights_sha256"]


def test_a_finished_run_is_resumed_to_the_same_figures(trained: Path, root: Path) -> None:
    run_folder = Path(shutil.copytree(trained, "copy"))
    result = run(
        "train", "cid_tiny", "--dataset", "coco", "--data-root", root, *TINY, "--resume", "copy"
    )
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "copy"
    assert read(run_folder / "metrics.json") == read(trained / "metrics.json")
    assert read_log(run_folder)[0] == read_log(trained)[0]


def test_results_go_to_stdout_and_messages_to_stderr(trained: Path, root: Path) -> None:
    result = run("eval", trained, "--data-root", root, "--workers", "0")
    assert result.code == 0
    assert "AP50" in result.out
    written = only(Path("runs"), "eval/*")
    assert f"Written to {written}" in result.err
    assert str(written) not in result.out


def test_a_long_path_is_not_broken_into_lines(trained: Path, root: Path, tmp_path: Path) -> None:
    runs = tmp_path / ("long" * 30) / "and [bold]bracketed[x]"
    result = run("eval", trained, "--data-root", root, "--workers", "0", "--runs", runs)
    assert f"Written to {only(runs, 'eval/*')}\n" in result.err


def test_an_evaluation_without_the_mirrored_image_says_so(trained: Path, root: Path) -> None:
    words = ("eval", trained, "--data-root", root, "--workers", "0", "--json")
    assert {row["tta"] for row in rows_of(run(*words).out)} == {"flip"}
    assert {row["tta"] for row in rows_of(run(*words, "--no-flip").out)} == {"none"}


def test_settings_change_how_a_checkpoint_is_tested(trained: Path, root: Path) -> None:
    result = run(
        "eval", trained, "--data-root", root, "--workers", "0", "--json",
        "--set", "inference.resize.short_side=128",
    )  # fmt: skip
    assert {row["input_size"] for row in rows_of(result.out)} == {128}
    saved = read(only(Path("runs"), "eval/*/recipe.json"))
    assert saved["inference"]["resize"]["short_side"] == 128


def test_the_upper_bound_needs_annotations_only(tmp_path: Path) -> None:
    annotations = write_coco(tmp_path, people=(1, 2))
    for picture in tmp_path.rglob("*.jpg"):
        picture.unlink()
    moved = annotations.rename(tmp_path / "people.json")
    result = run("eval", "cid", "--oracle", "--dataset", "coco", "--annotations", moved, "--json")
    assert result.code == 0, result.err
    rows = {row["metric"]: row for row in rows_of(result.out)}
    assert rows["AP"]["value"] > 50
    assert {row["tta"] for row in rows.values()} == {"oracle"}
    assert rows["AP"]["recipe"] == "cid_hrnet_w32_coco"


def test_a_result_file_scores_like_the_evaluation_that_wrote_it(root: Path) -> None:
    first = run("eval", "cid", "--oracle", "--dataset", "coco", "--data-root", root, "--json")
    oracle = only(Path("runs"), "eval/*")
    written = read(oracle / "predictions.json")
    # One person less, so that no figure is a round one.
    Path("mine.json").write_text(json.dumps(written[1:]))
    assert read(oracle / "metrics.json")["AP"] > 0.5
    again = run(
        "eval", "--predictions", oracle / "predictions.json", "--dataset", "coco",
        "--data-root", root, "--runs", "again", "--json",
    )  # fmt: skip
    assert again.code == 0, again.err
    values = [{r["metric"]: r["value"] for r in rows_of(text.out)} for text in (first, again)]
    assert values[0] == values[1]
    assert read(only(Path("again"), "eval/*/metrics.json")) == read(oracle / "metrics.json")
    words = ("eval", "--predictions", "mine.json", "--dataset", "coco", "--data-root", root)
    fewer = rows_of(run(*words, "--json").out)
    assert {r["metric"]: r["value"] for r in fewer}["AP"] < values[0]["AP"]
    assert {r["recipe"] for r in fewer} == {"mine"}
    named = run(*words, "--name", "fewer people", "--json")
    assert {(r["recipe"], r["method"]) for r in rows_of(named.out)} == {("fewer people", "")}
    assert "fewer people on coco val" in run(*words, "--name", "fewer people").out
    refused = run("eval", "cid", "--oracle", "--dataset", "coco", "--name", "x")
    assert (refused.code, "--name names a result file" in refused.err) == (2, True)


def test_pictures_are_drawn_of_one_image(trained: Path, root: Path) -> None:
    image = sorted((root / "coco" / "val2017").glob("*.jpg"))[0]
    result = run("viz", image, "--model", trained, "--heatmaps")
    assert result.code == 0, result.err
    picture = Path(result.out.strip())
    assert picture.parent == only(Path("runs"), "viz/cid_tiny_*")
    with_heatmaps = read_picture(picture)
    plain = run("viz", image, "--model", trained, "--out", "plain")
    assert Path(plain.out.strip()) == Path("plain") / f"{image.stem}.png"
    without = read_picture(plain.out.strip())
    assert with_heatmaps.size > without.size > 0
    named = run("viz", image, "--model", trained, "--out", "here/drawn.png")
    assert named.out.strip() == "here/drawn.png"
    assert np.array_equal(read_picture("here/drawn.png"), without)


def test_a_model_of_one_step_has_none_to_draw(trained: Path, root: Path) -> None:
    image = sorted((root / "coco" / "val2017").glob("*.jpg"))[0]
    result = run("viz", image, "--model", trained, "--steps")
    assert result.code == 4
    assert "one step" in result.err
    both = run("viz", image, "--model", trained, "--steps", "--heatmaps")
    assert both.code == 2
    assert "--steps" in both.err


def test_pictures_of_a_folder_stand_beside_the_annotations(trained: Path, root: Path) -> None:
    folder = root / "coco" / "val2017"
    annotations = root / "coco" / "annotations" / "person_keypoints_val2017.json"
    result = run(
        "viz", folder, "--annotations", annotations, "--model", trained, "--out", "pictures"
    )
    assert result.code == 0, result.err
    assert result.out.strip() == "pictures"
    assert len(list(Path("pictures").glob("*.png"))) == len(list(folder.glob("*.jpg")))
    plain = run("viz", folder, "--model", trained, "--out", "plain")
    assert plain.code == 0
    name = next(Path("plain").glob("*.png")).name
    assert read_picture(f"pictures/{name}").shape[1] > read_picture(f"plain/{name}").shape[1]


def test_the_newest_run_is_drawn_with_by_default(trained: Path, root: Path) -> None:
    result = run("viz", root / "coco" / "val2017", "--runs", trained.parents[1])
    assert result.code == 0, result.err


def test_a_video_is_drawn_frame_by_frame(trained: Path, shared_data: Path) -> None:
    source = shared_data / "video" / "demo.mp4"
    result = run("viz", source, "--model", trained, "--out", "drawn", "--device", "cpu")
    assert result.code == 0, result.err
    assert "5 frames in" in result.err
    video = open_video("drawn/demo.mp4")
    assert [frame.shape for frame in video] == [(540, 960, 3)] * 5
    named = run("viz", source, "--model", trained, "--out", "film.mp4", "--device", "cpu")
    assert named.out.strip() == "film.mp4"
    assert len(list(open_video("film.mp4"))) == 5


def test_a_camera_is_drawn_until_it_ends(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("posebench.data.video.cv2.VideoCapture", lambda number: Camera())
        result = run("viz", "0", "--model", trained, "--out", "drawn", "--device", "cpu")
    assert result.code == 0, result.err
    assert len(list(open_video("drawn/camera0.mp4"))) == 3


def test_a_video_has_no_heatmaps(trained: Path) -> None:
    assert run("viz", "x.mp4", "--model", trained, "--heatmaps").code == 2


def test_several_scales_are_merged(trained: Path, root: Path) -> None:
    words = ("eval", trained, "--data-root", root, "--device", "cpu", "--json")
    result = run(*words, "--scales", "1,0.5")
    assert result.code == 0, result.err
    assert {row["tta"] for row in rows_of(result.out)} == {"flip + scales 1,0.5"}
    assert run(*words, "--scales", "0").code == 2
    assert run(*words, "--scales", "big").code == 2


def test_suppression_by_poses_or_boxes_is_compared_on_ideal_outputs(root: Path) -> None:
    words = ("eval", "posedet", "--oracle", "--dataset", "coco", "--data-root", root, "--json")
    found = {}
    # Below 0 everybody but one is suppressed.
    for nms, threshold in (("oks", 0.5), ("iou", 0.5), ("iou", -1)):
        result = run(*words, "--set", f"nms={nms}", "--set", f"nms_threshold={threshold}")
        assert result.code == 0, result.err
        found[nms, threshold] = {r["metric"]: r["value"] for r in rows_of(result.out)}["AP"]
    assert found["oks", 0.5] == found["iou", 0.5] == 100 > found["iou", -1] > 0
    wrong = run(*words, "--set", "nms=boxes")
    assert wrong.code == 2
    assert "oks, iou" in wrong.err


def test_posedet_trains_and_merges_looks(root: Path) -> None:
    data = ("--dataset", "coco", "--data-root", root)
    result = run("train", "posedet_tiny", *data, *TINY)
    assert result.code == 0, result.err
    trained = only(Path("runs"), "train/posedet_tiny_*")
    looks = ("--flip", "--scales", "0.7,1", "--data-root", root, "--device", "cpu")
    result = run("eval", trained, *looks, "--json")
    assert result.code == 0, result.err
    assert {row["tta"] for row in rows_of(result.out)} == {"flip + scales 0.7,1"}


def test_a_moving_average_of_the_weights_is_evaluated(root: Path) -> None:
    data = ("--dataset", "coco", "--data-root", root)
    result = run("train", "cid_tiny", *data, *TINY, "--set", "ema_decay=0.5")
    assert result.code == 0, result.err
    folder = only(Path("runs"), "train/*") / "checkpoints"
    average, last = (read_checkpoint(folder / f"{n}.safetensors") for n in ("best", "last"))
    different = [n for n, w in average.weights.items() if not w.equal(last.weights[n])]
    # After one step the average is the weights: its first update copies them.
    assert different == []
    again = run("train", "cid_tiny", *data, *TINY, "--set", "ema_decay=1")
    assert again.code == 2


def test_curves_are_written_for_tensorboard(root: Path) -> None:
    pytest.importorskip("tensorboard")
    data = ("--dataset", "coco", "--data-root", root)
    result = run("train", "cid_tiny", *data, *TINY, "--tensorboard")
    assert result.code == 0, result.err
    assert list(only(Path("runs"), "train/*/tensorboard").iterdir())


def test_tensorboard_that_is_not_installed_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    data = ("--dataset", "coco", "--data-root", root)
    result = run("train", "cid_tiny", *data, *TINY, "--tensorboard")
    assert result.code == 2
    assert "posebench[tensorboard]" in result.err


def test_a_coco_model_is_tested_on_ochuman_as_its_authors_do(shared_data: Path) -> None:
    sample = shared_data / "ochuman" / "annotations" / "ochuman_sample.json"
    words = ("eval", "cid_hrnet_w32_coco", "--oracle", "--dataset", "ochuman")
    result = run(*words, "--annotations", sample, "--data-root", shared_data, "--json")
    assert result.code == 0, result.err
    saved = read(only(Path("runs"), "eval/*") / "recipe.json")
    assert (saved["config"]["nms_threshold"], saved["config"]["centre_pool"]) == (0.7, 11)
    metrics = {row["metric"]: row["value"] for row in rows_of(result.out)}
    assert metrics["AP"] > 90
