"""What an exported file says about itself; it is read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posebench.errors import ModelError, UnsupportedError, UsageError
from posebench.models import plugin_of, saved_base
from posebench.recipe import Recipe, recipe_from_json, recipe_to_json
from posebench.skeleton import Skeleton
from posebench.structures import FixedResize

KEY = "posebench"  # of the metadata in every format
VERSION = 1  # of the metadata
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}
# Format -> the libraries that write and run it, which the extra of its name installs.
LIBRARIES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "pt2": ()}
# Format -> the runtime that runs it.
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "pt2": "torch.export"}


def check_libraries(format: str) -> None:
    """Check that what writes and runs a format is installed, without importing it.

    Raises:
        UnsupportedError: it is not.
    """
    for library in LIBRARIES[format]:
        if find_spec(library) is None:
            raise not_installed(library, format)


def not_installed(library: str, extra: str) -> UnsupportedError:
    """Return the error for a library that an extra installs."""
    return UnsupportedError(
        f"This needs {library}, which is not installed: pip install 'posebench[{extra}]'."
    )


def is_exported(place: str | Path) -> bool:
    """Return whether a name ends as exported files do, and there is such a file."""
    return Path(place).suffix in SUFFIXES.values() and Path(place).is_file()


@dataclass(frozen=True)
class Card:
    """The metadata of an exported network."""

    recipe: Recipe  # with the skeleton that it predicts, and the test settings it was exported with
    outputs: tuple[str, ...]  # names of the graph's outputs, in order
    size: tuple[int, int] | None = None  # H, W of the input; None: any
    batch: int | None = None  # images of a forward pass; None: any number
    mirrored: bool = False  # whether the graph merges the mirrored image itself
    reads_padding: bool = False  # whether the graph has a second input, `padding`
    weights: str = "float32"  # or float16, int8
    version: str = ""  # of posebench
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the checkpoint

    @property
    def skeleton(self) -> Skeleton:
        assert self.recipe.skeleton is not None  # an exported recipe always has one
        return self.recipe.skeleton

    @property
    def used_recipe(self) -> Recipe:
        """The recipe with the resizing that the file's input size asks for."""
        if self.size is None:
            return self.recipe
        inference = replace(self.recipe.inference, resize=FixedResize.of(*self.size))
        return replace(self.recipe, inference=inference)

    def check(self, recipe: Recipe, source: object) -> None:
        """Check that test settings are possible with the file.

        Raises:
            UsageError: they are not.
        """
        own, wanted = self.recipe.inference, recipe.inference
        if wanted.scales != own.scales and (self.size or self.mirrored):
            raise UsageError(
                f"{source} was exported for one scale: leave out --scales, or name the run that it "
                "was exported from."
            )
        if self.mirrors_inside and wanted.flip != self.mirrored:
            flip = "--flip" if self.mirrored else "--no-flip"
            raise UsageError(
                f"{source} was exported with {flip}, which is part of its graph: export it again "
                "with the other."
            )

    @property
    def mirrors_inside(self) -> bool:
        """Whether merging the mirrored image is part of the method's graph."""
        from posebench.models import profile_of

        return profile_of(self.recipe.config).graph.merges_mirror

    def to_json(self) -> str:
        """Return the card as text, with what a program without posebench needs to know."""
        from posebench.preprocess import IMAGENET_MEAN, IMAGENET_STD  # torch

        own = {
            "format_version": VERSION,
            "version": self.version,
            "recipe": recipe_to_json(self.recipe, self.skeleton),
            "plugin": plugin_of(self.recipe),
            "keypoints": list(self.skeleton.keypoints),
            "limbs": [list(limb) for limb in self.skeleton.limbs],
            "sigmas": list(self.skeleton.sigmas),
            "preprocessing": {
                "images": "float32 (batch, 3, height, width), RGB, (value / 255 - mean) / std",
                "mean": list(IMAGENET_MEAN),
                "std": list(IMAGENET_STD),
                "padding": "bool (batch, height, width), true on padding"
                if self.reads_padding
                else None,
            },
            "outputs": list(self.outputs),
            "size": self.size,
            "batch": self.batch,
            "mirrored": self.mirrored,
            "reads_padding": self.reads_padding,
            "weights": self.weights,
            "facts": dict(self.facts),
        }
        return json.dumps(own)

    @classmethod
    def from_json(cls, text: str, source: Path) -> Card:
        """Read a card.

        Raises:
            ModelError: it is damaged, of another version, or of a recipe that does not exist here.
        """
        try:
            saved = json.loads(text)
            recipe, version = saved["recipe"], saved["format_version"]
            if version != VERSION:
                raise ModelError(
                    f"{source} was exported by another version of posebench (format {version}, "
                    f"expected {VERSION}): export it again."
                )
            base = saved_base(recipe["name"], saved["plugin"], source)
            return cls(
                recipe=recipe_from_json(recipe, base),
                outputs=tuple(saved["outputs"]),
                size=tuple(saved["size"]) if saved["size"] else None,
                batch=saved["batch"],
                mirrored=saved["mirrored"],
                reads_padding=saved["reads_padding"],
                weights=saved["weights"],
                version=saved["version"],
                facts=saved["facts"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The metadata of {source} is damaged ({error}): export it again."
            ) from None
