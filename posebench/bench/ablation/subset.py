"""Trainings of a given number of steps."""

from __future__ import annotations

from dataclasses import replace

from posebench.data import PoseDataset
from posebench.ground_truth import GroundTruth
from posebench.recipe import Recipe
from posebench.structures import Sample


def fit_to_steps(recipe: Recipe, steps: int, dataset: PoseDataset) -> tuple[Recipe, PoseDataset]:
    """Return the recipe and the images with which a training takes a given number of steps.

    The learning rate follows a cosine, since drops after so few epochs would have no effect, and
    warm-up takes at most a tenth of the steps.
    """
    labelled = len(dataset.labelled())
    epochs = max(-(-steps * recipe.batch_size // labelled), 1)
    steps_per_epoch = max(round(steps / epochs), 1)
    short = replace(
        recipe,
        epochs=epochs,
        schedule="cosine",
        warmup_steps=min(recipe.warmup_steps, steps // 10),
        frozen_epochs=min(recipe.frozen_epochs, epochs // 10),
        evaluate_every=epochs,
    )
    return short, Subset(dataset, min(steps_per_epoch * recipe.batch_size, labelled))


class Subset(PoseDataset):
    """A dataset of which only some labelled images, evenly spread, are trained on."""

    def __init__(self, dataset: PoseDataset, images: int) -> None:
        self.name, self.split = dataset.name, dataset.split
        self.skeleton, self.protocol = dataset.skeleton, dataset.protocol
        self._dataset = dataset
        labelled = dataset.labelled()
        self._chosen = [labelled[i * len(labelled) // images] for i in range(images)]

    @property
    def reference(self) -> str:
        return self._dataset.reference

    def __len__(self) -> int:
        return len(self._dataset)

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        return self._dataset.load(index, pixels=pixels)

    def ground_truth(self) -> GroundTruth:
        return self._dataset.ground_truth()

    def fingerprint(self) -> str:
        return self._dataset.fingerprint()

    def contents(self) -> str:
        return f"{len(self._chosen)} of {self._dataset.contents()}"

    def labelled(self) -> list[int]:
        return self._chosen
