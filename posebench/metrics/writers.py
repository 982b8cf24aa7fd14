"""Which tool wrote a result file, and why the AP that it prints itself may be another one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEAD = 65536  # bytes, in which the first entry ends


@dataclass(frozen=True)
class Writer:
    """A tool that writes result files in COCO's format."""

    name: str
    own_ap: str  # how the AP that it prints itself is made
    wrote: Callable[[str, Mapping[str, Any]], bool]  # by the file's name and its first entry


def _of_ultralytics(name: str, entry: Mapping[str, Any]) -> bool:
    return name == "predictions.json" and "bbox" in entry and isinstance(entry.get("score"), float)


def _of_detectron2(name: str, entry: Mapping[str, Any]) -> bool:
    return name == "coco_instances_results.json"


def _of_mmpose(name: str, entry: Mapping[str, Any]) -> bool:
    return name.endswith((".keypoints.json", "result_keypoints.json")) or {
        "center", "scale",
    } <= entry.keys()  # fmt: skip


WRITERS = (
    Writer(
        "Ultralytics",
        "its `val` prints a mAP of its own, in which a person's area is 0.53 of the box, crowd "
        "regions are nobody, and up to 300 detections of an image count; the AP here follows "
        "COCO's rules, as the pycocotools figures do that it prints after them",
        _of_ultralytics,
    ),
    Writer(
        "Detectron2",
        "it prints COCO's keypoint AP of this very file, with the sigmas of its configuration; "
        "with COCO's the two agree",
        _of_detectron2,
    ),
    Writer(
        "MMPose",
        "it prints the AP of xtcocotools, with the sigmas of its dataset's metainfo; with those "
        "of the dataset here the two agree, but for what CrowdPose's tool rounds",
        _of_mmpose,
    ),
)


def writer_of(path: Path) -> Writer | None:
    """Return the tool that a result file looks written by; None: posebench, or any other."""
    entry = _first_entry(path)
    return next((one for one in WRITERS if one.wrote(path.name, entry)), None)


def _first_entry(path: Path) -> Mapping[str, Any]:
    """Return the first entry of a list in JSON; empty: there is none that ends early."""
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8-sig", errors="replace").lstrip()
    if not head.startswith("["):
        return {}
    try:
        entry, _ = json.JSONDecoder().raw_decode(head[1:].lstrip())
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
