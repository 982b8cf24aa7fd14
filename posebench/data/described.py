"""Datasets that are described: a dataset.toml, one annotation file, or the folder of an export.

docs/datasets.md has the format and what is recognised.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.data.annotations.options import AREA_OF_BOX, ReadOptions
from posebench.data.formats import FORMATS, format_of, is_card
from posebench.data.kinds import KINDS
from posebench.data.layout import FileChoice, Layout, SplitFiles
from posebench.errors import DataError, Notice, UsageError, unknown_name
from posebench.skeleton import (
    SKELETONS,
    Skeleton,
    named_skeletons,
    read_skeleton,
    skeleton_from_table,
)
from posebench.structures import Protocol
from posebench.toml_tables import Table

if TYPE_CHECKING:
    from posebench.data.annotations.text import Content
    from posebench.data.base import FileDataset
    from posebench.ground_truth import GroundTruth

TOML = "dataset.toml"
FORMAT = 1  # of a dataset.toml

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
    separate: bool = False  # AP is the mean of those of the categories
    form: str = "coco"  # of the annotation files: this, or one of `formats.FORMATS`
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
            files = {split: replace(own, images=images, others=()) for split, own in files.items()}
        category = choice.category or self.options.category
        return replace(
            self,
            files=files,
            options=replace(self.options, category=category),
            keypoints=choice.skeleton or self.keypoints,
        )

    def files_in(self, folder: Path | None = None) -> dict[str, SplitFiles]:
        """Return the files of all splits; `folder` replaces the root that is described."""
        return self.located((self.base / self.root) if folder is None else folder)

    def located(self, folder: Path) -> dict[str, SplitFiles]:
        """Return the files of all splits in a folder, with patterns replaced by what fits them."""
        return {split: _located(files, folder) for split, files in self.files.items()}

    def open(
        self,
        root: Path | None,
        split: str,
        annotations: Path | None = None,
        skeleton: Skeleton | None = None,
    ) -> FileDataset:
        """Open one split; `root` replaces the root that the description names.

        `skeleton` is that of a model, and counts where the files do not name their keypoints.
        """
        from posebench.data.base import FileDataset
        from posebench.ground_truth import join

        if split not in self.files:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        folder = self.base / self.root if root is None else root
        files = self.located(folder)[split]
        paths = files.annotations if annotations is None else (annotations,)
        if not folder.is_dir() and not any(path.exists() for path in paths):
            raise DataError(
                f"The folder {folder}, in which {self.path} has its files, is not there: correct "
                "its `root`, or name the folder with --data-root."
            )
        truths = [self.read_file(path, skeleton) for path in paths]
        truth = truths[0] if len(truths) == 1 else join(truths)
        # Scoring a result file does without the images.
        images = files.image_folder(truth.file_names[:5], paths[0])
        protocol = KINDS[self.kind](truth.skeleton, separate=self.separate)
        if protocol.head_boxes and truth.head_boxes is None:
            warnings.warn(
                f"No annotation of {paths[0]} has a head box (headbox_xyxy), which PCKh measures "
                "distances by: AP by OKS is reported in its place.",
                Notice,
                stacklevel=2,
            )
        return FileDataset(
            self.name, split, protocol, images, truth, path=paths[0], reference=self.reference,
            facts=facts_of(truth, protocol, self.reading, self.origin),
        )  # fmt: skip


def _located(files: SplitFiles, folder: Path) -> SplitFiles:
    images = [
        place
        for path in (files.images, *files.others)
        if path is not None
        for place in _fitting(folder, path)
    ]
    annotations = tuple(one for path in files.annotations for one in _fitting(folder, path))
    return SplitFiles(images[0] if images else None, annotations, tuple(images[1:]))


def _fitting(folder: Path, path: Path) -> list[Path]:
    """Return the paths that fit a pattern below a folder; without any, the pattern itself."""
    found = []
    if not path.is_absolute() and re.search(r"[*?[]", str(path)):
        found = sorted(folder.glob(str(path)))
    return found or [folder / path]


def facts_of(
    truth: GroundTruth, protocol: Protocol, options: ReadOptions, origin: Mapping[str, str]
) -> dict[str, str]:
    """Return what a result on a described dataset depends on, by name, in words.

    Args:
        truth: the annotations.
        protocol: how they are evaluated.
        options: how they were read.
        origin: what the description says of the dataset; `files` is left out.
    """
    skeleton = truth.skeleton
    facts = {}
    if skeleton.sigmas_from:
        facts["sigmas"] = skeleton.sigmas_from
    elif SKELETONS.get(skeleton.name) != skeleton:
        facts["sigmas"] = f"{len(skeleton)} given"
    if isinstance(options.area, int | float):
        facts["area"] = "the box" if options.area == 1 else f"{options.area:g} of the box"
    elif truth.area_derived is not None:
        people = truth.people
        derived = int((truth.area_derived & people).sum())
        if derived:
            facts["area"] = f"{AREA_OF_BOX:g} of the box" + (
                f" of {derived} people, else annotated" if derived < people.sum() else ""
            )
    if len(truth.categories) > 1:
        how = "AP is their mean, or merged where results tell none"
        how = how if protocol.separate else "merged"
        facts["categories"] = f"{len(truth.categories)}, {how}"
    return facts | {key: value for key, value in origin.items() if key != "files"}


def is_path(name: str) -> bool:
    """Return whether a `--dataset` is a path and no name of a built-in dataset."""
    endings = (".toml", ".json", ".mat")
    return "/" in name or "\\" in name or name.endswith(endings) or name in (".", "..")


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
    files = {"all": SplitFiles(None, (path.absolute(),))}
    return found_layout(path, identifier(path.stem), files, **fields_of(format_of(path)))


def fields_of(form: str | None) -> dict[str, Any]:
    """Return the fields of a `DescribedLayout` that follow from the format of its files."""
    known = FORMATS.get(form or "coco")
    if known is None:
        return {}
    return {
        "form": form, "read": known.read, "keypoints": known.keypoints, "kind": known.kind,
        "alone": known.alone,
    }  # fmt: skip


def found_layout(
    path: Path, name: str, files: dict[str, SplitFiles], **fields: Any
) -> DescribedLayout:
    """Return the layout of a dataset at a path; `fields` are those of `DescribedLayout`."""
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
    # An empty one is what a shell makes of `data describe . > dataset.toml` before it runs.
    if (path / TOML).is_file() and (path / TOML).stat().st_size:
        return read_description(path / TOML)
    name = identifier(path.absolute().name)
    roboflow = {
        folder.name: SplitFiles(folder.absolute(), ((folder / _ROBOFLOW).absolute(),))
        for folder in sorted(path.iterdir())
        if (folder / _ROBOFLOW).is_file()
    }
    if roboflow:
        return found_layout(path, name, _in_order(roboflow))
    if (path / "data.yaml").is_file():
        from posebench.data.ultralytics import read_data_yaml

        return found_layout(path, name, **read_data_yaml(path / "data.yaml"))
    files = sorted((path / "annotations").glob("*.json")) or sorted(path.glob("*.json"))
    files = [file for file in files if not is_card(file)]
    files = [file for file in files if format_of(file)] or files  # results may lie beside
    keypoints = [file for file in files if "keypoints" in file.name] or files
    if keypoints:
        named = {_split_of(file, keypoints): file.absolute() for file in keypoints}
        splits = _in_order({s: SplitFiles(None, (file,)) for s, file in named.items()})
        forms = {format_of(file) for file in keypoints}
        return found_layout(
            path, name, splits, **fields_of(forms.pop() if len(forms) == 1 else None)
        )
    if image_names(path):
        images = path.absolute()
        return found_layout(path, name, {"all": SplitFiles(images, (images,))}, read=list_images)
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


def identifier(text: str) -> str:
    """Return a name made of a path's last part, which is not that of a built-in dataset."""
    from posebench.data import LAYOUTS

    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_") or "dataset"
    return f"own_{name}" if name in LAYOUTS else name


# ------------------------------------------------------------------------------------ dataset.toml


def read_description(path: Path, *, reserved: Iterable[str] | None = None) -> DescribedLayout:
    """Read a dataset.toml.

    Args:
        path: the file.
        reserved: names that it may not have; None: those of the built-in datasets.

    Raises:
        DataError: it is missing or wrong.
    """
    if reserved is None:
        from posebench.data import LAYOUTS

        reserved = LAYOUTS
    table = Table.read(path, "a dataset's description")
    version = table.take("format", int, FORMAT)
    if version != FORMAT:
        raise DataError(
            f"{path} is of format {version}, which this version of posebench does not have: it "
            f"reads format {FORMAT}."
        )
    name = table.take("name", str)
    if not re.fullmatch(r"[a-z0-9_]+", name) or name in reserved:
        raise DataError(
            f"Expected a name of small letters, digits and _ in {path}, and none of "
            f"{', '.join(reserved)}, but found {name!r}. Choose another."
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
    reading = table.table("read")
    form = reading.one_of("format", ("coco", *FORMATS), "coco")
    options = read_options(reading)
    given = fields_of(form)
    if skeleton is not None:
        given["keypoints"] = skeleton
    rules = table.table("protocol")
    given["kind"] = rules.one_of("kind", KINDS, given.get("kind", "oks"))
    categories = rules.one_of("categories", ("merged", "separate"), "merged")
    given["separate"] = categories == "separate"
    if given["separate"] and given["kind"] not in ("oks", "crowdpose"):
        expected = "merged with a metric that is no AP"
        expected = "merged with the kind mpii (PCKh)" if given["kind"] == "mpii" else expected
        raise rules.unfit("categories", expected, categories)
    rules.finish()
    origin = {key: str(value) for key, value in table.table("origin").rest().items()}
    train_split, eval_split = (table.take(key, str, "") for key in ("train_split", "eval_split"))
    table.finish()
    layout = found_layout(path, name, _in_order(files), options=options, origin=origin, **given)
    for split in filter(None, (train_split, eval_split)):
        if split not in files:
            raise unknown_name(f"split of {path}", split, files)
    return replace(
        layout,
        root=root,
        tree=origin.get("files", layout.tree),
        source=origin.get("source", ""),
        train_split=train_split or layout.train_split,
        eval_split=eval_split or layout.eval_split,
    )


def _split(table: Table) -> SplitFiles:
    images = [Path(one) for one in table.texts("images", ()) if one]
    annotations = tuple(Path(one) for one in table.texts("annotations"))
    table.finish()
    if not annotations:
        raise DataError(f"Expected a file or a list of files as annotations in {table.where}.")
    return SplitFiles(images[0] if images else None, annotations, tuple(images[1:]))


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
    known = named_skeletons()
    if name in known:
        return known[name]
    if not name.endswith(".toml"):
        raise UsageError(
            f"{unknown_name('skeleton', name, known)} One of your own is a file whose name "
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
