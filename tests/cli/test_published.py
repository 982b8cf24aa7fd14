"""Published checkpoints by their names alone: listed, downloaded, evaluated, verified, drawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.engine.weights import known_releases
from posebench.models import RECIPES
from posebench.published import registry
from tests.cli.command import run
from tests.data.test_described import cows, picture, write

# One of each format; small inputs, since the networks are the papers'.
ENTRIES = {
    "cid_hrnet_w32_coco@mine": "the authors",
    "cid_hrnet_w32_coco@mmpose1": "MMPose 1.x",
    "higher_hrnet_w32_coco@mmpose0": "MMPose 0.x",
}
TEMPLATE = """
[[checkpoint]]
name = "{name}"
source = "a test"
format = "{format}"
url = "{url}/{name}.pth"
bytes = {bytes}
settings = ["inference.resize.short_side=64"]
dataset = "coco"
split = "val"
ap = 50.0
licence = "MIT"
read_at = "here"
seen = true
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None: ...


def published(name: str, release: str) -> dict[str, object]:
    """Return what the code base would have saved."""
    recipe = RECIPES[name.partition("@")[0]]
    assert recipe.skeleton is not None
    torch.manual_seed(0)
    model = recipe.build(recipe.skeleton)
    (names,) = (own.names for own in known_releases(model) if own.source == release)
    tensors: dict[str, Tensor] = {}
    for ours, value in model.state_dict().items():
        theirs = [t + ours.removeprefix(o) for t, o in names.items() if ours.startswith(o)]
        tensors[theirs[0]] = value
    if release == "the authors":
        return {f"module.{key}": value for key, value in tensors.items()}
    return {"meta": {"sigmas": np.ones(17)}, "state_dict": tensors}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the checkpoints of a registry of our own."""
    folder = tmp_path / "served"
    folder.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    url = f"http://127.0.0.1:{httpd.server_port}"
    text = ""
    for name, release in ENTRIES.items():
        torch.save(published(name, release), folder / f"{name}.pth")
        size = (folder / f"{name}.pth").stat().st_size
        text += TEMPLATE.format(name=name, format=release, url=url, bytes=size)
    (tmp_path / "registry.toml").write_text(text)
    monkeypatch.setattr("posebench.published.REGISTRY", tmp_path / "registry.toml")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    registry.cache_clear()
    thread = Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield url
    httpd.shutdown()
    registry.cache_clear()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Return a data root with two annotated images of COCO."""
    content = cows(images=("1.png", "2.png"))
    content["categories"] = [{"id": 1, "name": "person"}]
    for annotation in content["annotations"]:
        annotation |= {"keypoints": [8, 8, 2, 20, 20, 2] + [0] * 45, "area": 400.0}
        annotation["bbox"] = [8, 8, 12, 12]
    root = tmp_path / "data"
    write(
        root / "coco" / "annotations" / "person_keypoints_val2017.json", content,
        root / "coco" / "val2017",
    )  # fmt: skip
    picture(root / "one.png")
    return root


def test_a_checkpoint_goes_through_every_command_by_its_name(
    server: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = run("weights", "list", "--json")
    rows = {row["name"]: row for row in json.loads(listed.out)["rows"]}
    assert rows.keys() == ENTRIES.keys() and not any(row["here"] for row in rows.values())

    untested = run("verify", "--accuracy", "--data-root", photographs)
    assert untested.code == 0, untested.err
    assert "Not tested, since weights or data are not here (3)" in untested.err
    assert "posebench weights download cid_hrnet_w32_coco@mine" in untested.err

    downloaded = run("weights", "download", "cid_hrnet_w32_coco@mmpose1", "higher*")
    assert downloaded.code == 0, downloaded.err
    assert downloaded.err.count("Licence: MIT.") == 2
    assert all(Path(line).is_file() for line in downloaded.out.splitlines())
    assert len(downloaded.out.splitlines()) == 2

    common = ("--device", "cpu", "--data-root", photographs)
    scored = run("eval", "cid_hrnet_w32_coco", *common)  # the first of the recipe, fetched
    assert scored.code == 0, scored.err
    checked = run("verify", "--accuracy", *common, "--json")
    assert checked.code == 0, checked.err
    verdicts = {row["checkpoint"]: row for row in json.loads(checked.out)["rows"]}
    assert {row["verdict"] for row in verdicts.values()} == {"partial"}
    assert all(row["images"] == 2 and row["run"] for row in verdicts.values())
    ledger = json.loads(run("tables", "published", "--json", "--out", "kept").out)["rows"]
    assert [row["checkpoint"] for row in ledger] == list(ENTRIES)
    for row in ledger:
        assert row["measured"] == verdicts[row["checkpoint"]]["measured"]
        assert (row["printed"], row["verdict"], row["images"]) == (50.0, "partial", 2)
        assert "torch" in row["versions"] and row["hardware"] and row["date"]
    assert Path("kept", "published.csv").read_text().count("\n") == 1 + len(ENTRIES)
    assert "3 of the 3 published checkpoints" in run("tables", "published").err
    shown = run("verify", "--accuracy", "--models", "higher*", *common)
    assert "can neither confirm nor refute" in shown.err.replace("\n", " ")

    drawn = run(
        "viz", photographs / "one.png", "--model", "cid_hrnet_w32_coco@mmpose1", "--out", "d",
        "--device", "cpu",
    )  # fmt: skip
    assert drawn.code == 0, drawn.err
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("POSEBENCH_OFFLINE", "")  # which --offline sets; restored afterwards
    offline = run("eval", "cid_hrnet_w32_coco@mmpose1", *common, "--offline")
    assert offline.code == 4
    assert "--offline forbids downloads" in offline.err
    again = run("eval", "cid_hrnet_w32_coco@mmpose2", *common)
    assert again.code == 4
    assert "Did you mean cid_hrnet_w32_coco@mm" in again.err


def test_what_is_known_of_a_checkpoint_and_what_failed_is_told(
    server: str, photographs: Path, tmp_path: Path
) -> None:
    (row,) = json.loads(run("models", "higher_hrnet_w32_coco@mmpose0", "--json").out)["rows"]
    assert (row["licence"], row["recipe"]) == ("MIT", "higher_hrnet_w32_coco")
    described = run("models", "cid_hrnet_w32_coco@mmpose1")
    assert "50.0 on coco val, with the flip test" in described.out
    assert "inference.resize.short_side=64" in described.out
    unknown = run("models", "cid_hrnet_w32_coco@mmpose2")
    assert unknown.code == 4
    assert "Did you mean" in unknown.err

    page = tmp_path / "cache" / "hub" / "checkpoints" / "cid_hrnet_w32_coco@mine.pth"
    page.parent.mkdir(parents=True)
    page.write_text("<!DOCTYPE html>")
    by_hand = run("eval", "cid_hrnet_w32_coco@mine", "--device", "cpu", "--data-root", photographs)
    assert by_hand.code == 4
    assert "is a web page" in by_hand.err and "Delete the file to download it again" in by_hand.err
    page.unlink()
    Path("served", "cid_hrnet_w32_coco@mine.pth").unlink()
    several = run("weights", "download", "all")
    assert several.code == 4
    assert "1 of 3 checkpoints could not be had: cid_hrnet_w32_coco@mine." in several.err
    assert "(404" in several.err and len(several.out.splitlines()) == 2
