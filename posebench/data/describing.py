"""Writing the dataset.toml of a dataset, as far as its files tell."""

from __future__ import annotations

import json
from pathlib import Path

from posebench.data.described import FORMAT, DescribedLayout
from posebench.data.layout import find_image_folder
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
        f"name = {json.dumps(layout.name)}",
        f"root = {json.dumps(root or str(layout.base / layout.root))}",
    ]

    def relative(path: Path) -> str:
        root = layout.base / layout.root
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

    built_in = named_skeletons().get(skeleton.name) == skeleton
    if built_in:
        lines.append(f"skeleton = {json.dumps(skeleton.name)}")
    for split, files in layout.files_in().items():
        lines += ["", f"[splits.{split}]"]
        own = truth if split == layout.train_split else layout.open(None, split).ground_truth()
        some = own.file_names[:5]
        folder = files.folder_with(some) or find_image_folder(files.annotations[0], some)
        if folder is None:
            lines.append('images = ""  # the folder of the images')
        else:
            lines.append(f"images = {json.dumps(relative(folder))}")
        names = [relative(path) for path in files.annotations]
        lines.append(f"annotations = {json.dumps(names[0] if len(names) == 1 else names)}")
    lines += ["", "[read]", f"category = {json.dumps(list(truth.categories))}"]
    if layout.form != "coco":
        lines.append(f"format = {json.dumps(layout.form)}")
    if layout.kind != "oks" or layout.separate:
        lines += ["", "[protocol]", f"kind = {json.dumps(layout.kind)}"]
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
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    if layout.origin:
        lines += ["", "[origin]"]
        lines += [f"{json.dumps(key)} = {json.dumps(v)}" for key, v in layout.origin.items()]
    return "\n".join(lines) + "\n"
