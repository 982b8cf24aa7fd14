"""MPII Human Pose (Andriluka et al., CVPR 2014): the official .mat or the common JSON files.

The official file lists all images and marks those for training; the common JSON files (lists of
people) split the annotated images into train and val. Neither has boxes or areas of people;
docs/data.md says how they are derived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posebench.data.crowdpose import AREA_OF_BOX
from posebench.data.layout import Layout
from posebench.errors import DataError
from posebench.files import PERSON, finite_rows, parse_json, read_text
from posebench.skeleton import MPII, Skeleton
from posebench.structures import Protocol

if TYPE_CHECKING:
    from posebench.data.annotations.text import Content
    from posebench.data.base import PoseDataset

OFFICIAL = "annotations/mpii_human_pose_v1_u12_1.mat"

# The box around the labelled keypoints and the head is extended on each side by this share of its
# longer side, since people reach beyond their joints.
MARGIN = 0.1

# Names of files with head boxes beside the common JSON file of val.
_HEADS = ("mpii_gt_val.mat", "gt_valid.mat")


def read_mpii(path: Path) -> Content:
    """Return an MPII annotation file converted to COCO's format, with coordinates that start at 0.

    Args:
        path: the official .mat, of which the training images are read; the common JSON list of
            people, with head boxes if a file of them lies beside it; or a file in COCO's format.

    Raises:
        DataError: the file is missing, damaged, or none of these.
    """
    from posebench.data.annotations.text import parse_content

    if path.suffix == ".mat":
        return _in_coco_format(list(_official_people(path)))
    text = read_text(path, "an annotation file")
    if text.lstrip().startswith(b"["):
        people = parse_json(text, path, "an annotation file")
        return _in_coco_format(list(_listed_people(people, path)))
    return parse_content(text, path)


def open_mpii(
    layout: Layout, root: Path, split: str, annotations: Path | None, skeleton: Skeleton | None
) -> PoseDataset:
    """Open a split from the first of MPII's annotation files that exists."""
    from posebench.data.base import FileDataset

    folder = layout.folder(root, split, needed=annotations is None)
    path = annotations or _split_file(layout, folder, split)
    return FileDataset.read(layout, split, layout.split_files(folder, split).images, path)


def _split_file(layout: Layout, folder: Path, split: str) -> Path:
    """Return the first existing file: mmpose's name, HRNet's name, or the official file."""
    names = [f"mpii_{split}.json", f"{split}.json", *(["valid.json"] if split == "val" else [])]
    candidates = [folder / "annotations" / name for name in names]
    if split == "trainval":
        candidates.append(folder / OFFICIAL)
    for path in candidates:
        if path.is_file():
            return path
    return layout.file(candidates[0])


LAYOUT = Layout(
    name="mpii",
    title="MPII",
    # Without head boxes, which PCKh needs, people are scored by OKS with our own sigmas and areas.
    protocols=(Protocol(MPII, head_boxes=True),),
    splits=("train", "val", "trainval"),
    train_split="train",
    eval_split="val",
    tree="mpii/images/*.jpg  mpii/annotations/mpii_{train,val}.json, or for trainval the .mat",
    source="http://human-pose.mpi-inf.mpg.de",
    annotations="annotations/mpii_{split}.json",
    images="images",
    read=read_mpii,
    opener=open_mpii,
)


@dataclass(frozen=True)
class _Person:
    """One annotated person; coordinates start at 1, as in all of MPII's files."""

    image: str
    keypoints: list[list[float]]  # (16, 3) x, y, visibility
    head: list[float] | None  # box x1, y1, x2, y2; None: not known


def _in_coco_format(people: Sequence[_Person]) -> Content:
    from posebench.data.annotations.text import Content

    names = list(dict.fromkeys(person.image for person in people))
    stems = [Path(name).stem for name in names]
    # Image ids come from the file names, so that results fit every kind of annotation file.
    numbered = all(stem.isdecimal() for stem in stems) and len({*map(int, stems)}) == len(stems)
    ids = {n: int(Path(n).stem) if numbered else i for i, n in enumerate(names, start=1)}
    images = [{"id": ids[name], "file_name": name} for name in names]
    annotations = [
        {"id": number, "image_id": ids[person.image], "category_id": PERSON, **_fields(person)}
        for number, person in enumerate(people, start=1)
    ]
    category = {"id": PERSON, "name": "person", "keypoints": list(MPII.keypoints)}
    return Content(images, annotations, [category])


def _fields(person: _Person) -> dict[str, Any]:
    """Return a person's keypoints, head box, box and area, with coordinates that start at 0."""
    rows = np.array(person.keypoints, np.float64)
    labelled = rows[:, 2] > 0
    rows[labelled, :2] -= 1
    rows[~labelled] = 0
    extent = [rows[labelled, :2]]
    fields: dict[str, Any] = {}
    if person.head is not None:
        head = np.array(person.head) - 1
        fields["headbox_xyxy"] = head.tolist()
        extent.append(head.reshape(2, 2))
    points = np.concatenate(extent)
    low, high = points.min(0, initial=np.inf), points.max(0, initial=-np.inf)
    if not len(points):
        low = high = np.zeros(2)
    margin = max(MARGIN * (high - low).max(), 1.0)
    low, high = low - margin, high + margin
    width, height = (high - low).tolist()
    return {
        "keypoints": rows.ravel().tolist(),
        "num_keypoints": int(labelled.sum()),
        "bbox": [*low.tolist(), width, height],
        "area": AREA_OF_BOX * width * height,
        "iscrowd": 0,
        **fields,
    }


# --------------------------------------------------------------------------------- the common JSON


def _listed_people(content: list[Any], path: Path) -> Iterator[_Person]:
    heads = _listed_heads(path, len(content))
    for index, entry in enumerate(content):
        owner = f"person {index} in {path}"
        image, keypoints = _read_entry(entry, owner)
        yield _Person(image, keypoints, heads[index] if heads else None)


def _read_entry(entry: Any, owner: str) -> tuple[str, list[list[float]]]:
    """Return the image's file name and the keypoints of one entry of the list."""
    fields = entry if isinstance(entry, dict) else {}
    for name in ("image", "joints", "joints_vis"):
        if name not in fields:
            raise DataError(
                f"Expected {name!r} in {owner}, but it has none. MPII's common JSON is a "
                "list of people with image, joints, joints_vis, center and scale."
            )
    if not isinstance(fields["image"], str):
        raise DataError(
            f"Expected a file name as the image of {owner}, but found {str(fields['image'])[:40]}."
        )
    joints, count = fields["joints"], len(MPII)
    if not isinstance(joints, list) or len(joints) != count:
        found = len(joints) if isinstance(joints, list) else type(joints).__name__
        raise DataError(
            f"Expected {count} joints of {owner}, but found {found}. Is the file for another "
            "keypoint set?"
        )
    points = finite_rows(joints, 2, "joints", lambda _: owner)
    labelled = finite_rows([fields["joints_vis"]], count, "joints_vis", lambda _: owner)[0] > 0
    # The list marks labelled keypoints only; occlusion is not in it.
    visibility = np.where(labelled, 2, 0)
    return fields["image"], np.column_stack([points, visibility]).tolist()


def _listed_heads(path: Path, count: int) -> list[list[float]] | None:
    """Return the head boxes x1, y1, x2, y2 from the file beside a JSON file of val; None: no file.

    Raises:
        DataError: there are more or fewer head boxes than people.
    """
    if "val" not in path.stem or "train" in path.stem:
        return None
    for name in _HEADS:
        beside = path.with_name(name)
        if beside.is_file():
            boxes = np.asarray(_load(beside).get("headboxes_src", np.zeros((2, 2, 0))), np.float64)
            boxes = boxes.reshape(2, 2, -1)
            if boxes.shape[2] != count:
                raise DataError(
                    f"Expected the head boxes (headboxes_src) of the {count} people of {path} in "
                    f"{beside}, but found {boxes.shape[2]}. Are they of another split?"
                )
            corners: list[list[float]] = boxes.transpose(2, 0, 1).reshape(-1, 4).tolist()
            return corners
    return None


# -------------------------------------------------------------------------------- the official .mat


def _official_people(path: Path) -> Iterator[_Person]:
    """Yield the people of the training images; test images have no public annotations."""
    release = _load(path).get("RELEASE")
    if release is None or not hasattr(release, "annolist") or not hasattr(release, "img_train"):
        raise DataError(
            f"Expected RELEASE with annolist and img_train in {path}, but it has none: it is not "
            "MPII's official annotation file. Check the path."
        )
    images = _items(release.annolist)
    for number, (image, train) in enumerate(
        zip(images, np.atleast_1d(release.img_train).ravel(), strict=False)
    ):
        if not train:
            continue
        name = str(image.image.name)
        for rect in _items(image.annorect):
            keypoints = _read_points(rect, f"image {number} ({name}) of {path}")
            corners = [getattr(rect, corner, None) for corner in ("x1", "y1", "x2", "y2")]
            head = [float(c) for c in corners if isinstance(c, int | float | np.number)]
            if len(head) == 4:
                yield _Person(name, keypoints.tolist(), head)
            elif keypoints.any():
                yield _Person(name, keypoints.tolist(), None)
            # Other people have only a position and a scale.


def _read_points(rect: Any, owner: str) -> NDArray[np.float64]:
    """Return the (16, 3) keypoints x, y, visibility of a person; zeros where unlabelled."""
    keypoints = np.zeros((len(MPII), 3))
    for point in _items(getattr(getattr(rect, "annopoints", None), "point", None)):
        k = int(point.id)
        if not 0 <= k < len(MPII):
            raise DataError(f"Expected keypoints 0 to {len(MPII) - 1} in {owner}, but found {k}.")
        keypoints[k] = float(point.x), float(point.y), _visibility(point)
    return keypoints


def _items(value: Any) -> list[Any]:
    """Return the structs of a MATLAB value: an array of them, a single one, or an empty array."""
    if value is None:
        return []
    return [item for item in np.atleast_1d(value).ravel() if hasattr(item, "_fieldnames")]


def _visibility(point: Any) -> int:
    """Return 2 (visible) or 1 (occluded); head and neck have no flag and count as visible."""
    flag = getattr(point, "is_visible", None)
    return 1 if str(flag) == "0" else 2


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"Expected a MATLAB file at {path}, but nothing is there. Check the path.")
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # SciPy raises half a dozen types for a damaged file
        raise DataError(
            f"{path} is no MATLAB file of version 4 to 7.2, or it is cut short: copy or download "
            "it again."
        ) from error
    return content
