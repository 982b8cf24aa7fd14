"""Where the files and data of a card are: beside it, or where the options say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posebench.card import CardEvaluation
from posebench.data import PoseDataset, choose_files, open_dataset
from posebench.data.described import is_path
from posebench.data.limited import FirstImages
from posebench.skeleton import Skeleton


@dataclass(frozen=True)
class Given:
    """What the options say; None: as the card says."""

    weights: Path | None = None
    results: Path | None = None
    data_root: Path | None = None
    annotations: Path | None = None
    images: Path | None = None


def find_file(folder: Path, file: str, given: Path | None = None) -> Path | None:
    """Return a file of a card: the given one, or where the card says, or beside the card.

    Args:
        folder: of the card.
        file: relative to it.
        given: by an option.
    """
    if given is not None:
        return given if given.is_file() else None
    places = (folder / file, folder / Path(file).name)
    return next((place for place in places if file and place.is_file()), None)


def find_data(
    evaluation: CardEvaluation, folder: Path, given: Given, spare: Skeleton | None = None
) -> PoseDataset:
    """Open the data that a card was evaluated on.

    Args:
        evaluation: of the card.
        folder: of the card.
        given: by options.
        spare: the model's keypoints, where the data leave their own open.

    Raises:
        UsageError, DataError: they are not here.
    """

    def place(option: Path | None, own: str) -> Path | None:
        if option is not None:
            return option
        return folder / own if own and (folder / own).exists() else None

    reference = evaluation.dataset
    if is_path(reference):  # of a description, an annotation file or a folder
        reference = str(folder / reference)
    annotations = place(given.annotations, evaluation.annotations)
    if annotations is None and evaluation.annotations:
        annotations = folder / evaluation.annotations  # which the error then names
    images = place(given.images, evaluation.image_folder)
    skeleton = place(None, evaluation.skeleton)
    dataset = open_dataset(
        reference,
        evaluation.split,
        root=place(given.data_root, evaluation.data_root),
        annotations=annotations,
        skeleton=spare,
        exif=evaluation.exif,
        choice=choose_files(
            images, evaluation.category, str(skeleton) if skeleton else evaluation.skeleton or None
        ),
    )
    return dataset if evaluation.limit is None else FirstImages(dataset, evaluation.limit)
