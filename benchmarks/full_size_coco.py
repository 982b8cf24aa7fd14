"""Write an annotation file of the size of COCO's train2017, for timing what opens it.

    python benchmarks/full_size_coco.py FILE [--images 118287] [--annotations 262465] [--seed 0]

The numbers are random, but the fields, their order and the lengths of lists are those of
person_keypoints_train2017.json: 59.5 % of the people have labelled keypoints, 1 % are crowds
outlined by run lengths, the others by polygons, of which one in eight has two.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from posebench.skeleton import COCO

LABELLED, CROWDS, TWO_OUTLINES = 0.595, 0.01, 0.125


def image(number: int, rng: np.random.Generator) -> dict[str, Any]:
    name = f"{number:012d}.jpg"
    width, height = (640, 480) if rng.random() < 0.7 else (480, 640)
    return {
        "license": int(rng.integers(1, 9)),
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/train2017/{name}",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 16:28:13",
        "flickr_url": f"http://farm4.staticflickr.com/3153/{number}_cbb4eae634_z.jpg",
        "id": number,
    }


def annotation(number: int, owner: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    width, height = owner["width"], owner["height"]
    box_width, box_height = rng.uniform(8, width / 2), rng.uniform(8, height / 2)
    x, y = rng.uniform(0, width - box_width), rng.uniform(0, height - box_height)
    crowd = rng.random() < CROWDS
    labelled = not crowd and rng.random() < LABELLED / (1 - CROWDS)
    keypoints = np.zeros((len(COCO), 3), np.int64)
    if labelled:
        flags = rng.choice(3, len(COCO), p=(0.35, 0.1, 0.55))
        flags[rng.integers(len(COCO))] = 2
        keypoints[:, 0] = x + rng.random(len(COCO)) * box_width
        keypoints[:, 1] = y + rng.random(len(COCO)) * box_height
        keypoints[:, 2] = flags
        keypoints[flags == 0] = 0
    outline: Any
    if crowd:
        counts = rng.integers(1, 500, rng.integers(40, 400))
        counts = counts[np.cumsum(counts) < width * height]
        rest = width * height - int(counts.sum())
        outline = {"counts": [*counts.tolist(), rest], "size": [height, width]}
    else:
        outline = [
            np.round(rng.uniform(0, 1, 2 * rng.integers(8, 40)) * box_width + x, 2).tolist()
            for _ in range(2 if rng.random() < TWO_OUTLINES else 1)
        ]
    return {
        "segmentation": outline,
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "area": round(float(box_width * box_height * rng.uniform(0.4, 0.7)), 4),
        "iscrowd": int(crowd),
        "keypoints": keypoints.ravel().tolist(),
        "image_id": owner["id"],
        "bbox": [round(float(v), 2) for v in (x, y, box_width, box_height)],
        "category_id": 1,
        "id": number,
    }


def write(path: Path, images: int, annotations: int, seed: int = 0) -> None:
    """Write a file of this many images and annotations; the same seed gives the same file."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(5 * images, images, replace=False)) + 1
    listed = [image(int(number), rng) for number in ids]
    # Half of train2017's images show nobody, the others three to four people on average.
    owners = rng.choice(images, max(1, images * 54 // 100), replace=False)
    category = {
        "supercategory": "person", "id": 1, "name": "person", "keypoints": list(COCO.keypoints),
        "skeleton": [[first + 1, second + 1] for first, second in COCO.limbs],
    }  # fmt: skip
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "synthetic"}, "licenses": [], "images": ')
        json.dump(listed, file)
        file.write(', "annotations": [')
        for index in range(annotations):
            owner = listed[int(owners[rng.integers(len(owners))])]
            file.write((", " if index else "") + json.dumps(annotation(index + 1, owner, rng)))
        file.write('], "categories": ' + json.dumps([category]) + "}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=262_465)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.file, options.images, options.annotations, options.seed)


if __name__ == "__main__":
    main()
