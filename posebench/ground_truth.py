"""The annotations of a split as flat arrays: small, shared by processes, and kept in files.

Shapes: I images, N annotations (people, crowd regions, people whom nobody labelled), K keypoints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from posebench.files import PERSON
from posebench.skeleton import Skeleton

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Texts(Sequence[str]):
    """A list of texts in one array: as many Python strings would take several times the memory."""

    content: NDArray[np.uint8]  # UTF-8, one after another
    ends: Indices  # (n,) where each ends

    @classmethod
    def of(cls, texts: Iterable[str | bytes]) -> Texts:
        """Return texts as one array."""
        parts = [text.encode() if isinstance(text, str) else bytes(text) for text in texts]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls(np.frombuffer(b"".join(parts), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: int | slice) -> str | Texts:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        return self._bytes(range(len(self))[index]).decode()

    def __iter__(self) -> Iterator[str]:
        return (self._bytes(index).decode() for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Texts) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def select(self, index: Indices) -> Texts:
        """Return some of the texts, in another order."""
        return Texts.of(self._bytes(i) for i in index.tolist())

    def _bytes(self, index: int) -> bytes:
        start = int(self.ends[index - 1]) if index else 0
        return self.content[start : int(self.ends[index])].tobytes()


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated images of a split.

    Arrays may be of a narrower type than they are described with, where it holds every value.
    """

    skeleton: Skeleton
    # Images, in the order of the file. Ids are whole numbers or texts.
    image_ids: Indices | Texts  # (I,) no two are equal
    file_names: Texts  # (I,) empty where the file has none
    sizes: NDArray[np.integer[Any]]  # (I, 2) width, height; 0 where the file has none
    crowd_index: Floats  # (I,) CrowdPose's crowdIndex; NaN where the file has none
    # Annotations, in the order of the file.
    image: Indices  # (N,) index of each annotation's image
    keypoints: NDArray[Any]  # (N, K, 3) x, y in pixels, v: 0 unlabelled, 1 occluded, 2 visible
    boxes: Floats  # (N, 4) x, y, width, height
    area: Floats  # (N,) square pixels, by which OKS divides
    crowd: NDArray[np.bool_]  # (N,) a crowd region, not one person
    ids: Texts  # (N,) of the annotations, for messages only
    # (N,) polygons or run lengths in JSON, of annotations that are no labelled people; else empty
    outlines: Texts
    head_boxes: Floats | None = None  # (N, 4) x1, y1, x2, y2, NaN where a person has none
    # (N,) people without an annotated area, whose area is derived from their box; None: nobody
    area_derived: NDArray[np.bool_] | None = None
    # Annotations that share the keypoints may be of several categories, as animals of AP-10K are.
    category: NDArray[np.integer[Any]] | None = None  # (N,) index into `categories`; None: all 0
    categories: tuple[str, ...] = ("person",)
    category_ids: tuple[int, ...] = (PERSON,)  # as in the file, for result files
    annotated: bool = True  # False: a list of images alone, such as COCO's test-dev

    @property
    def num_images(self) -> int:
        return len(self.file_names)

    def __len__(self) -> int:
        """Return the number of annotations."""
        return len(self.image)

    @cached_property
    def counts(self) -> Indices:
        """(N,) labelled keypoints, as official files count `num_keypoints`."""
        skeleton = self.skeleton
        counted = [name not in skeleton.not_counted for name in skeleton.keypoints]
        return np.asarray((self.keypoints[:, counted, 2] > 0).sum(1), np.int64)

    @cached_property
    def people(self) -> NDArray[np.bool_]:
        """(N,) True for people to train on and to find: with a labelled keypoint, and no crowd."""
        return (self.counts > 0) & ~self.crowd

    @cached_property
    def _by_image(self) -> tuple[Indices, Indices]:
        """Annotations sorted by image, and where each image's begin."""
        order = np.argsort(self.image, kind="stable")
        return order, np.searchsorted(self.image[order], np.arange(self.num_images + 1))

    def of_image(self, index: int) -> Indices:
        """Return the annotations of one image, in the order of the file."""
        order, first = self._by_image
        return order[first[index] : first[index + 1]]

    def image_id(self, index: int) -> int | str:
        """Return the id of an image as in the file."""
        if isinstance(self.image_ids, Texts):
            return self.image_ids[index]
        return int(self.image_ids[index])

    @cached_property
    def rank(self) -> Indices:
        """(I,) rank of each image's id among the sorted ids.

        Across images, detections with equal scores are ranked by it, as in the official tools.
        """
        ids = np.array(list(self.image_ids))
        rank = np.empty(len(ids), np.int64)
        rank[np.argsort(ids, kind="stable")] = np.arange(len(ids))
        return rank

    def labelled_images(self) -> list[int]:
        """Return the indices of the images with a person to train on."""
        found: list[int] = np.unique(self.image[self.people]).tolist()
        return found

    def select_images(self, chosen: Sequence[int]) -> GroundTruth:
        """Return the annotations of some of the images, in the order that is given."""
        place = np.full(self.num_images, -1, np.int64)
        images = np.asarray(chosen, np.int64)
        place[images] = np.arange(len(images))
        kept = np.flatnonzero(place[self.image] >= 0)
        ids = self.image_ids
        return replace(
            self.select(kept),
            image_ids=ids.select(images) if isinstance(ids, Texts) else ids[images],
            file_names=self.file_names.select(images),
            sizes=self.sizes[images],
            crowd_index=self.crowd_index[images],
            image=place[self.image[kept]],
        )

    def select(self, kept: Indices) -> GroundTruth:
        """Return some of the annotations, with all images."""
        return replace(
            self,
            image=self.image[kept],
            keypoints=self.keypoints[kept],
            boxes=self.boxes[kept],
            area=self.area[kept],
            crowd=self.crowd[kept],
            ids=self.ids.select(kept),
            outlines=self.outlines.select(kept),
            head_boxes=None if self.head_boxes is None else self.head_boxes[kept],
            area_derived=None if self.area_derived is None else self.area_derived[kept],
            category=None if self.category is None else self.category[kept],
        )

    def digest(self) -> str:
        """Return a hash of what training and evaluation take from the annotations."""
        state = hashlib.sha256()
        for array in (self.keypoints, self.boxes, self.crowd):
            for start in range(0, len(array), 10_000):
                state.update(np.asarray(array[start : start + 10_000], np.float64).tobytes())
        return state.hexdigest()

    def contents(self) -> str:
        """Return a hash of the annotations, of whose they are, and of the images' ids and names."""
        state = hashlib.sha256(self.digest().encode())
        ids = self.image_ids
        for texts in (self.file_names, ids):
            if isinstance(texts, Texts):
                state.update(np.asarray(texts.ends, np.int64).tobytes())
                state.update(texts.content.tobytes())
            else:
                state.update(np.asarray(texts, np.int64).tobytes())
        state.update(np.asarray(self.image, np.int64).tobytes())
        return state.hexdigest()

    def scored_contents(self) -> str:
        """Return a hash of the contents and of all else that scores depend on."""
        state = hashlib.sha256(self.contents().encode())
        for array in (self.area, self.crowd_index, self.head_boxes):
            if array is not None:
                state.update(np.asarray(array, np.float64).tobytes())
        return state.hexdigest()

    def to_coco(self) -> dict[str, Any]:
        """Return the annotations in COCO's format, for writing."""
        images = [
            {"id": self.image_id(index), "file_name": name, "width": width, "height": height}
            | ({} if np.isnan(crowd) else {"crowdIndex": crowd})
            for index, (name, (width, height), crowd) in enumerate(
                zip(self.file_names, self.sizes.tolist(), self.crowd_index.tolist(), strict=True)
            )
        ]
        annotations = [self._record(index) for index in range(len(self))]
        limbs = [[start + 1, end + 1] for start, end in self.skeleton.limbs]
        categories = [
            {
                "id": number,
                "name": name,
                "keypoints": list(self.skeleton.keypoints),
                "skeleton": limbs,
            }
            for number, name in zip(self.category_ids, self.categories, strict=True)
        ]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _record(self, index: int) -> dict[str, Any]:
        kind = 0 if self.category is None else int(self.category[index])
        record: dict[str, Any] = {
            "id": index + 1,
            "image_id": self.image_id(int(self.image[index])),
            "category_id": self.category_ids[kind],
            "keypoints": self.keypoints[index].ravel().tolist(),
            "num_keypoints": int(self.counts[index]),
            "area": float(self.area[index]),
            "bbox": self.boxes[index].tolist(),
            "iscrowd": int(self.crowd[index]),
        }
        if outline := self.outlines[index]:
            record["segmentation"] = json.loads(outline)
        if self.head_boxes is not None and np.isfinite(self.head_boxes[index]).all():
            record["headbox_xyxy"] = self.head_boxes[index].tolist()
        return record


def join(parts: Sequence[GroundTruth]) -> GroundTruth:
    """Return the annotations of several files with the same keypoints as one split.

    Image ids that occur in two files are numbered anew, all of them.
    """
    first = parts[0]
    ids: list[int | str] = [part.image_id(i) for part in parts for i in range(part.num_images)]
    if len(set(ids)) < len(ids) or len({type(one) for one in ids}) > 1:
        ids = list(range(1, len(ids) + 1))
    offsets = np.cumsum([0, *(part.num_images for part in parts)])
    heads = [part.head_boxes for part in parts]
    kinds = list(dict.fromkeys(name for part in parts for name in part.categories))
    numbers = {n: i for p in parts for n, i in zip(p.categories, p.category_ids, strict=True)}
    category = [
        np.array([kinds.index(name) for name in part.categories])[
            np.zeros(len(part), np.int64) if part.category is None else part.category
        ]
        for part in parts
    ]
    return GroundTruth(
        first.skeleton,
        texts_or_numbers(ids),
        Texts.of(name for part in parts for name in part.file_names),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.crowd_index for part in parts]),
        np.concatenate([p.image + offset for p, offset in zip(parts, offsets, strict=False)]),
        np.concatenate([part.keypoints for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.area for part in parts]),
        np.concatenate([part.crowd for part in parts]),
        Texts.of(number for part in parts for number in part.ids),
        Texts.of(outline for part in parts for outline in part.outlines),
        np.concatenate([box for box in heads if box is not None])
        if all(box is not None for box in heads)
        else None,
        np.concatenate(
            [
                np.zeros(len(p), np.bool_) if p.area_derived is None else p.area_derived
                for p in parts
            ]
        ),
        np.concatenate(category) if len(kinds) > 1 else None,
        tuple(kinds),
        tuple(numbers[name] for name in kinds),
        all(part.annotated for part in parts),
    )


def _flags(flags: NDArray[np.bool_] | None, count: int) -> NDArray[np.bool_]:
    return np.zeros(count, np.bool_) if flags is None else flags


def texts_or_numbers(ids: Sequence[int | str]) -> Indices | Texts:
    """Return ids as an array of numbers, or as texts if one is a text or fits no 64 bits."""
    if all(isinstance(one, int) and -(2**63) <= one < 2**63 for one in ids):
        return np.array(ids, np.int64)
    return Texts.of(str(one) for one in ids)


def narrowed(array: Floats) -> NDArray[Any]:
    """Return an array of the smallest type that holds all values exactly."""
    for kind in (np.int16, np.int32, np.float32):
        with np.errstate(invalid="ignore"):
            small = array.astype(kind)
        if np.array_equal(small, array):
            return small
    return array


# The arrays of a GroundTruth by name, for files that keep them.
ARRAYS = tuple(
    field.name
    for field in fields(GroundTruth)
    if field.name not in ("skeleton", "categories", "category_ids", "annotated")
)
