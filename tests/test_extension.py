"""A method and a dataset are added as CONTRIBUTING.md says: two files each, and a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import posebench
from tests.builders import write_coco

PACKAGE = Path(posebench.__file__).parent

RECIPES = '''
"""MeanPose: one person per image, its keypoints regressed from the mean feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from posebench.recipe import ModelConfig, Recipe
from posebench.structures import Augment, Inference, Resize, Skeleton

if TYPE_CHECKING:
    from posebench.models.mean_pose.model import MeanPose


@dataclass(frozen=True)
class MeanPoseConfig(ModelConfig):
    method: ClassVar[str] = "mean_pose"

    backbone: str = "one convolution"
    width: int = 8

    def build(self, skeleton: Skeleton) -> MeanPose:
        from posebench.models.mean_pose.model import MeanPose

        return MeanPose(self, skeleton)


RECIPES = {
    "mean_pose_tiny": Recipe(
        name="mean_pose_tiny",
        config=MeanPoseConfig(),
        skeleton=None,
        default_for=("coco", "mini"),
        inference=Inference(Resize(64), flip=False),
        augment=Augment(size=64),
        epochs=1,
        batch_size=2,
        micro_batch_size=2,
        lr=1e-3,
        pretrained=False,
    )
}
'''

MODEL = '''
from __future__ import annotations

import torch
from torch import Tensor, nn

from posebench.layers.affine import apply
from posebench.models.base import PoseModel
from posebench.models.mean_pose import MeanPoseConfig
from posebench.structures import Batch, Geometry, PosePredictions, Skeleton


class MeanPose(PoseModel):
    def __init__(self, config: MeanPoseConfig, skeleton: Skeleton) -> None:
        super().__init__(config, skeleton)
        self.backbone = nn.Conv2d(3, config.width, 7, stride=4)
        self.head = nn.Linear(config.width, 2 * len(skeleton))

    def features(self, images: Tensor, padding: Tensor | None = None) -> Tensor:
        return self.backbone(images).relu().mean((2, 3))

    def heads(self, features: Tensor, people: Tensor | None = None) -> Tensor:
        """Return keypoints (B, K, 2) in network-input pixels."""
        return self.head(features).view(len(features), -1, 2)

    def targets(self, batch: Batch) -> list[Tensor]:
        return [poses.keypoints[:1].float() for poses in batch.poses]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        predicted = self(batch.images)
        apart = [(one - own).abs().sum() for one, own in zip(predicted, self.targets(batch))]
        return {"keypoints": torch.stack(apart).mean()}

    def decode(self, outputs: Tensor, geometry: Geometry) -> list[PosePredictions]:
        one = outputs.new_ones(1)
        return [
            PosePredictions(
                apply(keypoints[None], to_image.to(keypoints)), one.expand(1, len(keypoints)), one
            )
            for keypoints, to_image in zip(outputs, geometry.to_image)
        ]
'''

DATASET = '''
"""COCO's keypoints with rules of its own: areas from boxes, images split by crowdIndex."""

from __future__ import annotations

from posebench.data.layout import Layout
from posebench.skeleton import COCO
from posebench.structures import Protocol

LAYOUT = Layout(
    name="mini",
    protocols=(Protocol(COCO, area_of_box=0.4, crowd_index=(0.1, 0.5)),),
    splits=("train", "val"),
    train_split="train",
    eval_split="val",
    tree="mini/{train,val}2017/*.jpg  mini/annotations/person_keypoints_{train,val}2017.json",
    source="tests",
    annotations="annotations/person_keypoints_{split}2017.json",
    images="{split}2017",
)
'''


def add_line(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1, (path.name, before)
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the package to which a method and a dataset were added."""
    root = tmp_path_factory.mktemp("extended")
    package = root / "posebench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    method = package / "models" / "mean_pose"
    method.mkdir()
    (method / "__init__.py").write_text(RECIPES.lstrip())
    (method / "model.py").write_text(MODEL.lstrip())
    zoo = package / "models" / "__init__.py"
    add_line(zoo, "    cid,\n", "    cid,\n    mean_pose,\n")
    add_line(zoo, "METHODS = (cid,", "METHODS = (mean_pose, cid,")
    (package / "data" / "mini.py").write_text(DATASET.lstrip())
    datasets = package / "data" / "__init__.py"
    add_line(datasets, "import coco, crowdpose,", "import coco, mini, crowdpose,")
    add_line(datasets, "DATASETS = (coco,", "DATASETS = (mini, coco,")
    for split in ("train", "val"):
        annotations = write_coco(root / "data", split=split)
        content = json.loads(annotations.read_text())
        content["images"] = [{**image, "crowdIndex": 0.3} for image in content["images"]]
        for annotation in content["annotations"]:
            del annotation["area"]  # the protocol makes it
        annotations.write_text(json.dumps(content))
    (root / "data" / "coco").rename(root / "data" / "mini")
    return root


def posebench_rows(root: Path, *words: str) -> list[dict[str, object]]:
    """Return the tidy rows that a command of the extended package prints."""
    done = subprocess.run(
        [sys.executable, "-m", "posebench", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, object]] = (
        json.loads(done.stdout)["rows"] if done.stdout[:1] == "{" else []
    )
    return rows


def test_a_new_method_and_dataset_take_two_files_each(extended: Path) -> None:
    data = ("--dataset", "mini", "--data-root", "data", "--device", "cpu")
    # A bare method name means its default recipe for the dataset.
    posebench_rows(extended, "train", "mean_pose", *data)
    [folder] = (extended / "runs" / "train").iterdir()
    assert folder.name.startswith("mean_pose_tiny_mini_")

    scored = posebench_rows(extended, "eval", str(folder), *data, "--json")
    by_metric = {row["metric"]: row for row in scored}
    # The dataset's own rules: easy, medium and hard images, where COCO has sizes of people.
    assert list(by_metric)[6:9] == ["APE", "APM", "APH"]
    assert by_metric["APE"]["value"] is None and by_metric["APM"]["value"] is not None
    assert {row["method"] for row in scored} == {"mean_pose"}

    listed = posebench_rows(extended, "data", "list", "--data-root", "data", "--json")
    assert {"mini", "coco"} <= {row["dataset"] for row in listed}


def test_what_a_new_method_leaves_out_has_defaults_or_is_said(extended: Path) -> None:
    image = next((extended / "data" / "mini" / "val2017").glob("*.jpg"))
    [folder] = (extended / "runs" / "train").iterdir()
    posebench_rows(extended, "viz", str(image), "--model", str(folder), "--device", "cpu")
    program = [sys.executable, "-m", "posebench"]
    environment = {**os.environ, "PYTHONPATH": str(extended)}
    for words, said in (
        (("viz", str(image), "--model", str(folder), "--heatmaps"), "leave out --heatmaps"),
        (("viz", str(image), "--model", str(folder), "--steps"), "in one step"),
        (("eval", "mean_pose", "--oracle", "--dataset", "mini", "--data-root", "data"), "no upper"),
        (("eval", str(folder), "--flip", "--data-root", "data"), "merges neither"),
    ):
        done = subprocess.run(
            [*program, *words], cwd=extended, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert (done.returncode, said in done.stderr) == (4, True), done.stderr
