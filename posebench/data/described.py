"""Datasets that users describe: a dataset.toml, one annotation file, or the folder of an export.

docs/datasets.md has the format and what is recognised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.data.annotations.options import AREA_OF_BOX, ReadOptions
from posebench.data.layout import FileChoice, Layout, SplitFiles, find_image_folder
from posebench.errors import DataError, UsageError, unknown_name
from posebench.skeleton import (
    SKELETONS,
    Skeleton,
    read_skeleton,
    skeleton_from_table,
    skeleton_table,
    why_unpaired,
)
from posebench.structures import Protocol
from posebench.toml_tables import Table

if TYPE_CHECKING:
    from posebench.data.annotations.text import Content
    from posebench.data.base import PoseDataset

TOML = "dataset.toml"
_FORMAT = 1
_KINDS = ("oks", "crowdpose", "mpii")

# The file of a split in the folders that Roboflow exports.
_ROBOFLOW = "_annotations.coco.json"
# Names that tools give to the split that models are evaluated on.
_EVALUATED = ("val", "valid", "validation", "test")


@dataclass(frozen=True)
class DescribedLayout(Layout):
    """A dataset that is found by its path."""

    files: Mapping[str, SplitFiles] = field(default_factory=dict)  # by split
    base: Path = Path()  # what relative paths are relative to
    root: str = "."  # relative to `base`; --data-root replaces it
    path: str = ""  # of what describes it
    keypoints: Skeleton | None = None  # None: those of the annotation files
    options: ReadOptions = field(default_factory=ReadOptions)
    kind: str = "oks"
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return self.path

    @property
    def skeleton(self) -> Skeleton | None:
        return self.keypoints

    @property
    def reading(self) -> ReadOptions:
        if self.kind == "crowdpose" and self.options.area == "auto":
            return replace(self.options, area=AREA_OF_BOX)
        return self.options

    def choosing(self, choice: FileChoice) -> DescribedLayout:
        """Return the layout with what is said about its files."""
        files = self.files
        if choice.images is not None:
            images = choice.images.absolute()
            files = {split: replace(own, images=images) for split, own in files.items()}
        category = choice.category or self.options.category
        return replace(
            self,
            files=files,
            options=replace(self.options, category=category),
            keypoints=choice.skeleton or self.keypoints,
        )

    def files_in(self, folder: Path | None = None) -> dict[str, SplitFiles]:
        """Return the files of all splits; `folder` replaces the root that is described."""
        place = (self.base / self.root) if folder is None else folder
        return {
            split: SplitFiles(
                None if files.images is None else place / files.images,
                tuple(place / path for path in files.annotations),
            )
            for split, files in self.files.items()
        }

    def open(
        self,
        root: Path | None,
        split: str,
        annotations: Path | None = None,
        skeleton: Skeleton | None = None,
    ) -> PoseDataset:
        """Open one split; `root` replaces the root that the description names.

        `skeleton` is that of a model, and counts where the files do not name their keypoints.
        """
        from posebench.data.base import FileDataset
        from posebench.ground_truth import join

        if split not in self.files:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        files = self.files_in(root)[split]
        paths = files.annotations if annotations is None else (annotations,)
        truths = [self.read_file(path, skeleton) for path in paths]
        truth = truths[0] if len(truths) == 1 else join(truths)
        # Scoring a result file does without the images.
        folder = files.images or find_image_folder(paths[0], truth.file_names[:5])
        protocol = protocol_of(self.kind, truth.skeleton)
        return FileDataset(
            self.name, split, protocol, folder, truth, path=paths[0], reference=self.reference
        )


def protocol_of(kind: str, skeleton: Skeleton) -> Protocol:
    """Return the rules of evaluation of a kind: oks, crowdpose or mpii."""
    if kind == "crowdpose":
        return Protocol(skeleton, AREA_OF_BOX, crowd_index=(0.2, 0.8))
    return Protocol(skeleton, head_boxes=kind == "mpii")


def is_path(name: str) -> bool:
    """Return whether a `--dataset` is a path and no name of a built-in dataset."""
    return "/" in name or "\\" in name or name.endswith((".toml", ".json")) or name in (".", "..")


def describe_path(name: str) -> DescribedLayout:
    """Return the layout of the dataset at a path.

    Raises:
        DataError: nothing is there, or nothing that is recognised.
    """
    path = Path(name).expanduser()
    if path.suffix == ".toml":
        return read_description(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(
            f"Expected a dataset at {path}: a dataset.toml, an annotation file or a folder. "
            "Nothing is there. Check the path."
        )
    return _single_file(path)


# -------------------------------------------------------------------------------------- recognised


def _single_file(path: Path) -> DescribedLayout:
    return _found(path, _identifier(path.stem), {"all": SplitFiles(None, (path.absolute(),))})


def _found(path: Path, name: str, files: dict[str, SplitFiles], **fields: Any) -> DescribedLayout:
    splits = tuple(files)
    train = "train" if "train" in files else splits[0]
    evaluated = next((split for split in _EVALUATED if split in files), splits[-1])
    return DescribedLayout(
        name=name,
        protocols=(),
        splits=splits,
        train_split=train,
        eval_split=evaluated,
        tree=str(path),
        source="",
        files=files,
        base=path.absolute() if path.is_dir() else path.absolute().parent,
        path=str(path.absolute()),
        **fields,
    )


def _folder(path: Path) -> DescribedLayout:
    """Return the layout of a folder by what lies in it."""
    if (path / TOML).is_file():
        return read_description(path / TOML)
    name = _identifier(path.absolute().name)
    roboflow = {
        folder.name: SplitFiles(folder.absolute(), ((folder / _ROBOFLOW).absolute(),))
        for folder in sorted(path.iterdir())
        if (folder / _ROBOFLOW).is_file()
    }
    if roboflow:
        return _found(path, name, _in_order(roboflow))
    if (path / "data.yaml").is_file():
        from posebench.data.ultralytics import read_data_yaml

        return _found(path, name, **read_data_yaml(path / "data.yaml"))
    files = sorted((path / "annotations").glob("*.json")) or sorted(path.glob("*.json"))
    keypoints = [file for file in files if "keypoints" in file.name] or files
    if keypoints:
        named = {_split_of(file, keypoints): file.absolute() for file in keypoints}
        return _found(
            path, name, _in_order({s: SplitFiles(None, (file,)) for s, file in named.items()})
        )
    if image_names(path):
        images = path.absolute()
        return _found(path, name, {"all": SplitFiles(images, (images,))}, read=list_images)
    raise DataError(
        f"The folder {path} is not recognised as a dataset: looked for {TOML}, for "
        f"{_ROBOFLOW} in its sub-folders (Roboflow), for data.yaml (ultralytics), for JSON files "
        "in it or in annotations/ (COCO, CVAT, FiftyOne), and for images. Write a dataset.toml: "
        "`posebench data describe FILE.json` prints a first one."
    )


def image_names(folder: Path) -> list[str]:
    """Return the paths of the images in a folder and its sub-folders, relative to it."""
    from posebench.data.image_files import is_image_name, list_files

    files = list_files(folder, recursive=True)
    return [file.relative_to(folder).as_posix() for file in files if is_image_name(file)]


def list_images(folder: Path) -> Content:
    """Return the images of a folder, which has no annotations.

    Their ids are the numbers that they are named by, as those of COCO are, or else their paths.
    """
    from posebench.data.annotations.text import Content

    names = image_names(folder)
    stems = [Path(name).stem for name in names]
    numbers = {int(stem) for stem in stems if re.fullmatch(r"[0-9]{1,18}", stem)}
    ids = [int(stem) for stem in stems] if len(numbers) == len(names) else names
    images = [{"id": id_, "file_name": name} for id_, name in zip(ids, names, strict=True)]
    return Content(images, [], None, annotated=False)


def _split_of(file: Path, files: list[Path]) -> str:
    """Return a split's name: what distinguishes its file from the others, without the year."""
    if len(files) == 1:
        stem = file.stem
    else:
        stems = [one.stem for one in files]
        start = len(_common_start(stems))
        stem = file.stem[start:]
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", stem) if part]
    name = parts[-1] if parts else file.stem
    return re.sub(r"20\d\d$", "", name) or name


def _common_start(names: list[str]) -> str:
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    # Up to a sign, so that `train` and `trainval` stay whole.
    return first[: max(first.rfind(sign, 0, length) for sign in "_-. ") + 1]


def _in_order(files: dict[str, SplitFiles]) -> dict[str, SplitFiles]:
    order = ("train", "trainval", *_EVALUATED)
    return dict(
        sorted(files.items(), key=lambda one: order.index(one[0]) if one[0] in order else 99)
    )


def _identifier(text: str) -> str:
    """Return a name made of a path's last part, which is not that of a built-in dataset."""
    from posebench.data import LAYOUTS

    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_") or "dataset"
    return f"own_{name}" if name in LAYOUTS else name


# ------------------------------------------------------------------------------------ dataset.toml


def read_description(path: Path) -> DescribedLayout:
    """Read a dataset.toml.

    Raises:
        DataError: it is missing or wrong.
    """
    from posebench.data import LAYOUTS

    table = Table.read(path, "a dataset's description")
    version = table.take("format", int, _FORMAT)
    if version != _FORMAT:
        raise DataError(
            f"{path} is of format {version}, which this version of posebench does not have: it "
            f"reads format {_FORMAT}."
        )
    name = table.take("name", str)
    if not re.fullmatch(r"[a-z0-9_]+", name) or name in LAYOUTS:
        raise DataError(
            f"Expected a name of small letters, digits and _ in {path}, and none of "
            f"{', '.join(LAYOUTS)}, but found {name!r}. Choose another."
        )
    root = table.take("root", str, ".")
    splits = table.table("splits")
    files = {split: _split(splits.table(split)) for split in splits.keys()}  # noqa: SIM118
    if not files:
        raise DataError(
            f"Expected at least one split in {path}, as in [splits.train]. Add it, with the keys "
            "images and annotations."
        )
    skeleton = _skeleton(table, name, path)
    options = read_options(table.table("read"))
    rules = table.table("protocol")
    kind = rules.one_of("kind", _KINDS, "oks")
    rules.finish()
    origin = {key: str(value) for key, value in table.table("origin").rest().items()}
    train_split, eval_split = (table.take(key, str, "") for key in ("train_split", "eval_split"))
    table.finish()
    layout = _found(
        path, name, _in_order(files), keypoints=skeleton, options=options, kind=kind,
        origin=origin,
    )  # fmt: skip
    for split in filter(None, (train_split, eval_split)):
        if split not in files:
            raise unknown_name(f"split of {path}", split, files)
    return replace(
        layout,
        root=root,
        train_split=train_split or layout.train_split,
        eval_split=eval_split or layout.eval_split,
    )


def _split(table: Table) -> SplitFiles:
    images = table.take("images", str, "")
    annotations = tuple(Path(one) for one in table.texts("annotations"))
    table.finish()
    if not annotations:
        raise DataError(f"Expected a file or a list of files as annotations in {table.where}.")
    return SplitFiles(Path(images) if images else None, annotations)


def _skeleton(table: Table, name: str, path: Path) -> Skeleton | None:
    given = table.take_any("skeleton")
    if given is None:
        return None
    if isinstance(given, str):
        return find_skeleton(given, path.parent)
    if isinstance(given, dict):
        return skeleton_from_table(Table(given, f"[skeleton] of {path}"), name)
    raise table.unfit("skeleton", "a name, the path of a TOML file, or a table", given)


def find_skeleton(name: str, base: Path = Path()) -> Skeleton:
    """Return a built-in skeleton, or that of a TOML file, whose path is relative to `base`.

    Raises:
        UsageError: there is none of that name.
        DataError: the file is missing or wrong.
    """
    if name in SKELETONS:
        return SKELETONS[name]
    if not name.endswith(".toml"):
        raise UsageError(
            f"{unknown_name('skeleton', name, SKELETONS)} One of your own is a file whose name "
            "ends in .toml: see docs/datasets.md."
        )
    return read_skeleton(base / name)


def read_options(table: Table) -> ReadOptions:
    """Return the options of a `[read]` table.

    Raises:
        DataError: a key is unknown, or a value does not fit.
    """
    category = _names_or_numbers(table, "category")
    select = _names_or_numbers(table, "select")
    keypoints_field = table.take("keypoints_field", str, "keypoints")
    flags = table.take("visibility", dict, {})
    visibility = {}
    for flag, meant in flags.items():
        if not re.fullmatch(r"-?\d+", flag) or meant not in (0, 1, 2):
            raise table.unfit("visibility", "flags and what they mean, as in { 3 = 0 }", flags)
        visibility[int(flag)] = int(meant)
    area = table.take_any("area", "auto")
    if area == "box":
        area = 1.0
    if isinstance(area, bool) or not (
        (isinstance(area, int | float) and area > 0) or area in ("auto", "annotated")
    ):
        raise table.unfit("area", "annotated, box, auto or a share of the box above 0", area)
    box = table.one_of("box", ("auto", "annotated", "keypoints"), "auto")
    table.finish()
    return ReadOptions(category, keypoints_field, select, visibility, area, box)  # type: ignore[arg-type]


def _names_or_numbers(table: Table, key: str) -> tuple[str | int, ...]:
    value = table.take_any(key, [])
    rows = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in rows):
        raise table.unfit(key, "names or numbers", value)
    return tuple(rows)


def written_description(layout: DescribedLayout) -> str:
    """Return a dataset.toml that says what is known of a dataset, to be completed by hand.

    Raises:
        DataError: its files cannot be read.
    """
    dataset = layout.open(None, layout.train_split)
    skeleton, truth = dataset.skeleton, dataset.ground_truth()
    lines = [
        f"# {truth.num_images} images, {int(truth.people.sum())} labelled of {len(truth)} "
        f"annotations in {layout.train_split}",
        f"format = {_FORMAT}",
        f"name = {json.dumps(layout.name)}",
        f"root = {json.dumps(str(layout.base / layout.root))}",
    ]

    def relative(path: Path) -> str:
        root = layout.base / layout.root
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

    built_in = SKELETONS.get(skeleton.name) == skeleton
    if built_in:
        lines.append(f"skeleton = {json.dumps(skeleton.name)}")
    for split, files in layout.files_in().items():
        lines += ["", f"[splits.{split}]"]
        own = truth if split == layout.train_split else layout.open(None, split).ground_truth()
        folder = files.images or find_image_folder(files.annotations[0], own.file_names[:5])
        if folder is None:
            lines.append('images = ""  # the folder of the images')
        else:
            lines.append(f"images = {json.dumps(relative(folder))}")
        names = [relative(path) for path in files.annotations]
        lines.append(f"annotations = {json.dumps(names[0] if len(names) == 1 else names)}")
    lines += ["", "[read]", f"category = {json.dumps(list(truth.categories))}"]
    if not built_in:
        lines += ["", "[skeleton]"]
        if skeleton.pairs is None:
            lines.append(
                f"# Nothing is mirrored: {why_unpaired(skeleton.keypoints)} Say it with "
                "`pairs` in place of `mirror`."
            )
        for key, value in skeleton_table(skeleton).items():
            origin = f"  # {skeleton.sigmas_from}" if key == "sigmas" else ""
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}{origin}")
    return "\n".join(lines) + "\n"
