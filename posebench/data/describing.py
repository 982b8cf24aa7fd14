"""Writing the dataset.toml of a dataset, as far as its files tell."""

from __future__ import annotations

import json
import re
from pathlib import Path

from posebench.data.annotations.options import ReadOptions
from posebench.data.described import FORMAT, DescribedLayout
from posebench.errors import UsageError
from posebench.skeleton import named_skeletons, skeleton_table, why_unpaired


def written_description(layout: DescribedLayout, root: str | None = None) -> str:
    """Return a dataset.toml that says what is known of a dataset, to be completed by hand.

    Args:
        layout: the dataset.
        root: what the description calls the folder of the files; None: its whole path.

    Raises:
        DataError: its files cannot be read.
        UsageError: they are in a format that is found by its folder alone.
    """
    if layout.read is not None and layout.form == "coco":
        raise UsageError(
            f"{layout.path} describes itself, and is a dataset as it is: --dataset {layout.path}. "
            f"For a file in COCO's format: posebench data convert {layout.path} --output FOLDER"
        )
    dataset = layout.open(None, layout.train_split)
    skeleton, truth = dataset.skeleton, dataset.ground_truth()
    lines = [
        f"# {truth.num_images} images, {int(truth.people.sum())} labelled of {len(truth)} "
        f"annotations in {layout.train_split}",
        f"format = {FORMAT}",
        f"name = {_toml(layout.name)}",
        f"root = {_toml(root or str(layout.base / layout.root))}",
    ]

    def relative(path: Path) -> str:
        root = layout.base / layout.root
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

    built_in = named_skeletons().get(skeleton.name) == skeleton
    if built_in:
        lines.append(f"skeleton = {_toml(skeleton.name)}")
    for split, files in layout.files_in().items():
        lines += ["", f"[splits.{_key(split)}]"]
        own = truth if split == layout.train_split else layout.open(None, split).ground_truth()
        folder = files.image_folder(own.file_names[:5])
        if folder is None:
            lines.append('images = ""  # the folder of the images')
        else:
            lines.append(f"images = {_toml(relative(folder))}")
        names = [relative(path) for path in files.annotations]
        lines.append(f"annotations = {_toml(names[0] if len(names) == 1 else names)}")
    lines += ["", "[read]", f"category = {_toml(list(truth.categories))}"]
    lines += _given(layout.options)
    if layout.form != "coco":
        lines.append(f"format = {_toml(layout.form)}")
    if layout.kind != "oks" or layout.separate:
        lines += ["", "[protocol]", f"kind = {_toml(layout.kind)}"]
    if layout.separate:
        lines.append('categories = "separate"')
    if not built_in:
        lines += ["", "[skeleton]"]
        if skeleton.pairs is None:
            lines.append(
                f"# Nothing is mirrored: {why_unpaired(skeleton.keypoints)} Say it with "
                "`pairs` in place of `mirror`."
            )
        for key, value in skeleton_table(skeleton).items():
            lines.append(f"{key} = {_toml(value)}")
    if layout.origin:
        lines += ["", "[origin]"]
        lines += [f"{_toml(key)} = {_toml(v)}" for key, v in layout.origin.items()]
    return "\n".join(lines) + "\n"


def _given(options: ReadOptions) -> list[str]:
    """Return the lines of `[read]` that a description has already, besides the category."""
    usual = ReadOptions()
    given = {
        key: getattr(options, key)
        for key in ("keypoints_field", "select", "area", "box")
        if getattr(options, key) != getattr(usual, key)
    }
    lines = [f"{key} = {_toml(value)}" for key, value in given.items()]
    if options.visibility:
        flags = ", ".join(f"{flag} = {meant}" for flag, meant in options.visibility.items())
        lines.append(f"visibility = {{ {flags} }}")
    return lines


def _toml(value: object) -> str:
    """Return a value in TOML, which has no surrogate pairs: other signs than ASCII stay."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)
