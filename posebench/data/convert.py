"""Writing COCO's format from ultralytics', MPII's and AI Challenger's annotations.

What is written has the same people as the source: with boxes and areas as they are derived, and
with the sizes of the images.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from posebench.data.described import (
    TOML,
    DescribedLayout,
    describe_path,
    fields_of,
    found_layout,
    identifier,
)
from posebench.data.describing import written_description
from posebench.data.formats import FORMATS, format_of
from posebench.data.image_files import read_size
from posebench.data.layout import SplitFiles, find_image_folder
from posebench.data.mpii import OFFICIAL
from posebench.errors import DataError, Notice, UsageError, unknown_name
from posebench.files import atomic_write, write_json
from posebench.ground_truth import GroundTruth

ULTRALYTICS = "ultralytics"
SOURCES = (ULTRALYTICS, *FORMATS)

_YAML = (".yaml", ".yml")
# Words of file names, and the split that they stand for.
_SPLITS = {
    "trainval": "trainval", "train": "train", "training": "train", "val": "val", "valid": "val",
    "validation": "val", "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    path: Path
    images: int
    people: int  # with a labelled keypoint
    folder: Path | None  # of the images, where they are not found by the file's place


def source_layout(
    path: Path, form: str | None = None, images: Path | None = None
) -> DescribedLayout:
    """Return the dataset whose annotations are to be converted.

    Args:
        path: a file or a folder.
        form: one of `SOURCES`; None: it is recognised.
        images: the folder of the images; None: it is found.

    Raises:
        DataError: nothing is there, or it is in none of these formats.
        UsageError: it is in COCO's format, or there is no format of this name.
    """
    if form is not None and form not in SOURCES:
        raise unknown_name("format to convert from", form, SOURCES)
    if not path.exists():
        raise DataError(f"Expected annotations at {path}, but nothing is there. Check the path.")
    data_file = path / "data.yaml" if path.is_dir() else path
    if form is None and path.suffix == ".toml":
        return describe_path(str(path))
    if form is None and path.is_dir() and (path / TOML).is_file():
        return describe_path(str(path))
    if form == ULTRALYTICS or (form is None and data_file.suffix in _YAML and data_file.is_file()):
        from posebench.data.ultralytics import read_data_yaml

        if images is not None:
            raise UsageError("data.yaml says where its images are: leave out --images.")
        root = data_file.parent
        return found_layout(root, identifier(root.absolute().name), **read_data_yaml(data_file))
    found = _annotation_files(path, form)
    form = form or format_of(next(iter(found.values())))
    folder = None if images is None else images.absolute()
    files = {split: SplitFiles(folder, (file.absolute(),)) for split, file in found.items()}
    name = identifier(path.absolute().name if path.is_dir() else path.stem)
    return found_layout(path, name, files, **fields_of(form))


def _annotation_files(path: Path, form: str | None) -> dict[str, Path]:
    """Return the files to convert by split: the file itself, or those in a folder."""
    if path.is_file():
        found = form or format_of(path)
        if found == "coco":
            raise UsageError(
                f"{path} is in COCO's format already: give it to --dataset as it is, or describe "
                f"it with `posebench data describe {path}`."
            )
        if found is None:
            raise DataError(
                f"Expected annotations of {_titles()} at {path}, but it is in none of their "
                f"formats. If it is in one of them, name it with --format ({', '.join(SOURCES)})."
            )
        return {_split_of(path): path}
    inside = [*path.glob("*.json"), *path.glob("*/*.json"), path / OFFICIAL, path / OFFICIAL[12:]]
    wanted = FORMATS if form is None else (form,)
    files = [file for file in sorted(inside) if file.is_file() and format_of(file) in wanted]
    if not files or len({format_of(file) for file in files}) > 1:
        raise DataError(
            f"Expected annotations of one format in {path}, data.yaml (ultralytics) or lists of "
            f"people (MPII, AI Challenger), but found {len(files) or 'none'}. Name the file itself."
        )
    found_splits: dict[str, Path] = {}
    for file in files:
        split = _split_of(file)
        found_splits[split if split not in found_splits else file.stem] = file
    return found_splits


def _titles() -> str:
    return ", ".join([ULTRALYTICS, *(known.title for known in FORMATS.values())])


def _split_of(file: Path) -> str:
    if file.name == Path(OFFICIAL).name:
        return "trainval"
    words = re.split(r"[^a-z]+", file.stem.lower())
    return next((_SPLITS[word] for word in words if word in _SPLITS), "all")


def convert(
    layout: DescribedLayout,
    output: Path,
    *,
    split: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Written]:
    """Write a dataset's annotations in COCO's format; nothing is written if a split is refused.

    Args:
        layout: as `source_layout` returns it.
        output: a file whose name ends in .json, for a single split; or a folder, which becomes a
            dataset: an annotation file for each split, and a dataset.toml.
        split: convert this one alone; None: all.
        overwrite: replace files that are there.
        progress: called with the number of images whose sizes are known, and of all images.

    Raises:
        UsageError: there is no such split, a file is there already, or a single file was named for
            several splits.
        DataError: the source is wrong.
    """
    if split is not None and split not in layout.splits:
        raise unknown_name(f"split of {layout.path}", split, layout.splits)
    splits = layout.splits if split is None else (split,)
    single = output.suffix == ".json"
    if single and len(splits) > 1:
        raise UsageError(
            f"{layout.path} has the splits {', '.join(splits)}, and {output} holds one: choose one "
            "with --split, or name a folder."
        )
    targets = {one: output if single else output / "annotations" / f"{one}.json" for one in splits}
    _check_free([*targets.values(), *([] if single else [output / TOML])], overwrite=overwrite)
    datasets = {one: layout.open(None, one) for one in splits}
    total = sum(len(dataset) for dataset in datasets.values())
    done = 0
    truths: dict[str, GroundTruth] = {}
    for one, dataset in datasets.items():

        def advance(count: int, before: int = done) -> None:
            progress(before + count, total)

        truths[one] = _with_sizes(dataset.ground_truth(), dataset.folder, advance)
        done += len(dataset)
    for one, truth in truths.items():
        write_json(targets[one], truth.to_coco())
    if not single:
        files = {
            one: SplitFiles(dataset.folder.absolute(), (targets[one].absolute(),))
            for one, dataset in datasets.items()
        }
        whole = found_layout(
            output, layout.name, files, keypoints=truths[splits[0]].skeleton, kind=layout.kind,
            separate=layout.separate, origin=layout.origin,
        )  # fmt: skip
        with atomic_write(output / TOML) as beside:
            beside.write_text(written_description(whole, "."), encoding="utf-8")
    return [
        Written(
            targets[one],
            truth.num_images,
            int(truth.people.sum()),
            _elsewhere(targets[one], datasets[one].folder, truth) if single else None,
        )
        for one, truth in truths.items()
    ]


def _elsewhere(path: Path, folder: Path, truth: GroundTruth) -> Path | None:
    """Return the folder of the images if it is not found by the place of the annotations."""
    found = find_image_folder(path.absolute(), truth.file_names[:5])
    return None if found is not None and found.samefile(folder) else folder


def _check_free(paths: list[Path], *, overwrite: bool) -> None:
    taken = [path for path in paths if path.exists()]
    if taken and not overwrite:
        raise UsageError(
            f"{taken[0]} is there already: choose another --output, or replace it with --overwrite."
        )


def _with_sizes(truth: GroundTruth, folder: Path, progress: Callable[[int], None]) -> GroundTruth:
    """Return the annotations with the sizes of all images; those of missing images stay 0.

    Raises:
        DataError: no image can be read.
    """
    unknown = np.flatnonzero((truth.sizes == 0).any(1)).tolist()
    sizes = np.array(truth.sizes, np.int32)
    failed: list[str] = []

    def size_of(index: int) -> tuple[int, int] | None:
        try:
            return read_size(folder / truth.file_names[index])
        except DataError:
            return None

    with ThreadPoolExecutor() as pool:
        for count, (index, size) in enumerate(
            zip(unknown, pool.map(size_of, unknown), strict=True), start=1
        ):
            if size is None:
                failed.append(truth.file_names[index])
            else:
                sizes[index] = size
            progress(truth.num_images - len(unknown) + count)
    progress(truth.num_images)
    if failed and len(failed) == truth.num_images:
        raise DataError(
            f"Expected the images in {folder}, whose sizes COCO's format has, but none of the "
            f"{len(failed)} can be read; the first is {failed[0]}. Name their folder with --images."
        )
    if failed:
        warnings.warn(
            f"{len(failed)} of {truth.num_images} images in {folder} cannot be read, the first is "
            f"{failed[0]}: they are written without a width and height.",
            Notice,
            stacklevel=2,
        )
    return replace(truth, sizes=sizes)
