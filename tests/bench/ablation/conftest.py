"""A small study of two trainings, on a few images."""

from __future__ import annotations

from pathlib import Path

import pytest

from posebench.bench.ablation.config import StudyConfig
from posebench.models import STUDIES
from posebench.studies import Study, Variant
from tests.builders import write_coco

SMALL = (
    "augment.size=64", "inference.resize.short_side=64", "batch_size=4", "micro_batch_size=4",
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, small_study: None) -> StudyConfig:
    """Return a study of one training and one more test, on three images."""
    root = tmp_path / "data"
    write_coco(root, people=(1, 2, 1))
    write_coco(root, people=(2, 1), split="val")
    return StudyConfig(
        "cid/looks", "coco", "cid_tiny", SMALL, epochs=2, data_root=str(root), device="cpu"
    )


@pytest.fixture
def small_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a study of two trainings, one of them with two tests."""
    monkeypatch.setitem(
        STUDIES, "cid/looks",
        Study(
            "cid/looks", "A0", "Table 0", "mirrors, and the width", base="cid_hrnet_w32_coco",
            variants=(
                Variant("mirrored"),
                Variant("once", test=("inference.flip=false",)),
                Variant("narrow", train=("embedding=8",)),
            ),
            expected=(("once", "mirrored"), ("narrow", "mirrored")),
        ),
    )  # fmt: skip
