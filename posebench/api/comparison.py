"""Which of several models is better, by how much, and what each does wrong."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posebench.api.entrants import DataOptions, Entrant, Progress, open_entrants
from posebench.bench.draws import DRAWS, SEED
from posebench.errors import DataError, Notice, UsageError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from posebench.api.run import Run
    from posebench.bench.analysis import Analysis
    from posebench.bench.comparison import Comparison as Compared
    from posebench.data import PoseDataset
    from posebench.engine import Model, Predictor
    from posebench.skeleton import Skeleton
    from posebench.viz import RGB

# A row for every joint, pose or person.
LONG_TABLES = ("joints", "detections", "people")
_CORRECTIONS: tuple[Literal["meant", "published"], ...] = ("meant", "published")
_LEVEL = 0.05  # of the tests
_QUIET: Progress = lambda name, done, total: None  # noqa: E731


@dataclass(frozen=True)
class _Scored(ABC):
    """What a comparison and an analysis have in common: tables, sentences and a report."""

    dataset: PoseDataset
    entrants: tuple[Entrant, ...]
    annotations: str  # the file that was given in place of the split's own; empty: none
    result: Compared | Analysis

    @property
    @abstractmethod
    def sentences(self) -> list[str]:
        """What the numbers say, the main thing first."""

    @abstractmethod
    def _page(self) -> str:
        """Return the report."""

    @property
    def images(self) -> str:
        """The name of the images: dataset and split, and the file where one was given."""
        file = f" ({Path(self.annotations).name})" if self.annotations else ""
        return f"{self.dataset.name} {self.dataset.split}{file}"

    @cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Tidy tables by name; AP and its differences are in percent.

        Their rows say what they depend on, but for those of single joints, poses and people.
        """
        from posebench.engine import provenance_of

        made = {"dataset": self.dataset.name, "split": self.dataset.split}
        made |= provenance_of(dataset=self.dataset).columns()
        made["seeds"] = ", ".join(filter(None, [str(made["seeds"]), f"draws {self.result.seed}"]))
        of_model = {
            column: {one.name: one.row.get(column, "") for one in self.entrants}
            for column in ("recipe_hash", "weights_sha256")
        }
        of_model["results_sha256"] = {
            one.name: one.facts.get("SHA-256", "") for one in self.entrants
        }
        tables = self.result.tables()
        for name, rows in tables.items():
            if name in LONG_TABLES:
                continue
            own = rows.assign(**made)
            if "model" not in own and len(self.entrants) == 1:
                own.insert(0, "model", self.entrants[0].name)
            if "model" in own:
                own = own.assign(**{c: own["model"].map(of) for c, of in of_model.items()})
            tables[name] = own
        return tables

    def to_dataframe(self, table: str = "") -> pd.DataFrame:
        """Return a tidy table.

        Args:
            table: one of `tables`; empty: the first, which has the AP.

        Raises:
            UsageError: there is no such table.
        """
        if table and table not in self.tables:
            raise unknown_name("table", table, self.tables)
        return self.tables[table or next(iter(self.tables))]

    def facts(self) -> list[tuple[str, str]]:
        """Return how it was made: the files, the images, the draws and the versions."""
        from posebench.version import package_version

        truth = self.dataset.ground_truth()
        people = int(truth.people.sum())
        facts = [
            ("images", f"{truth.num_images} of {self.images}"),
            ("people", str(people)),
        ]
        for one in self.entrants:
            facts += [(one.name, ", ".join(f"{name} {value}" for name, value in one.facts.items()))]
        draws, seed = self.result.draws, self.result.seed
        drawn = f"{draws} draws of the images, seed {seed}" if draws else "none"
        return [*facts, ("intervals", drawn), ("posebench", package_version())]

    def report(self, path: str | Path) -> Path:
        """Write one HTML file that needs no other file and no network; return its path.

        Raises:
            PosebenchError: the file cannot be written.
        """
        from posebench.files import atomic_write

        target = Path(path)
        with atomic_write(target) as beside:
            beside.write_text(self._page(), encoding="utf-8")
        return target

    def _picture(self, index: int) -> RGB | None:
        """Return an image of the dataset; None: it is not here."""
        from posebench.errors import PosebenchError

        try:
            return self.dataset.load(index).image
        except PosebenchError:
            return None


@dataclass(frozen=True)
class Comparison(_Scored):
    """Several models on the same images; `result.models` has the highest AP first."""

    result: Compared

    @property
    def sentences(self) -> list[str]:
        from posebench.bench.verdict import comparison_sentences

        return comparison_sentences(self.result)

    def _page(self) -> str:
        from posebench.viz.result_report import comparison_page

        return comparison_page(
            self.result, self.dataset.ground_truth(),
            {one.name: one.detections for one in self.entrants},
            pictures=self._picture, facts=self.facts(),
        )  # fmt: skip


@dataclass(frozen=True)
class ErrorAnalysis(_Scored):
    """What one model does wrong, and what each kind of error costs in AP."""

    result: Analysis

    @property
    def sentences(self) -> list[str]:
        from posebench.bench.verdict import analysis_sentences

        return analysis_sentences(self.entrants[0].name, self.result)

    def _page(self) -> str:
        from posebench.viz.result_report import analysis_page

        [one] = self.entrants
        return analysis_page(
            one.name, self.result, self.dataset.ground_truth(), one.detections,
            pictures=self._picture, facts=self.facts(),
        )  # fmt: skip


def compare(
    *models: str | Path | Run | Model | Predictor,
    names: Sequence[str] | None = None,
    reference: str | None = None,
    dataset: str | PoseDataset | None = None,
    split: str | None = None,
    data_root: str | Path | None = None,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    category: str | Sequence[str | int] = (),
    skeleton: str | Skeleton | None = None,
    limit: int | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
    errors: bool = True,
    group_p: bool = False,
    runs: str | Path | None = None,
    progress: Progress = _QUIET,
    **how: Any,
) -> Comparison:
    """Compare models on the same images, with intervals and tests over the images.

        compared = posebench.compare("ours.json", "theirs.json", annotations="val.json")
        compared.sentences
        compared.to_dataframe("differences")
        compared.report("report.html")

    Args:
        *models: at least two: result files in COCO's format, run folders, what `load_model` takes
            or returns, or what `evaluate` returns.
        names: what they are called; None: by their files, folders and recipes.
        reference: the one that the others are compared with, by its name; None: the best.
        dataset: a name, or what `open_dataset` returns; None: the one that `annotations` look like,
            or that the runs and models name.
        split, data_root, annotations, images, category, skeleton, limit: as for `open_dataset`.
        draws: number of resamples of the images.
        seed: of the resamples.
        errors: also find what each model does wrong, and how that makes their difference.
        group_p: also test the differences in groups of people and images (exploratory).
        runs: the folder for the predictions of models; None: they are not written.
        progress: is called with a model's name, the images done and all, while it predicts.
        **how: how models predict, as for `evaluate`: device, precision, batch_size, workers.

    Raises:
        UsageError: fewer than two models, or a name or an option does not exist or does not fit.
        DataError: a file is missing or wrong.
        ModelError: there is no such model, or it predicts other keypoints.
    """
    if len(models) < 2:
        raise UsageError(
            "compare expects at least two models: name another, or use analyze for one alone."
        )
    _check_draws(draws)
    _say_if_too_few(draws, len(models))
    options = DataOptions(dataset, split, data_root, annotations, images, category, skeleton, limit)
    data, entrants = open_entrants(
        models, options, names=names, runs=runs, progress=progress, **how
    )
    if len(data) < 2:
        raise DataError(
            "Intervals and tests draw images, so compare expects at least two, but "
            f"{data.name} {data.split} has one: posebench.analyze looks at one image, too."
        )
    called = [one.name for one in entrants]
    if reference is not None and reference not in called:
        raise unknown_name("model to compare with (--reference)", reference, called)
    from posebench.bench.analysis import analyze as find_errors
    from posebench.bench.comparison import compare as compare_detections

    truth, protocol = data.ground_truth(), data.protocol
    found = {one.name: one.detections for one in entrants}
    analyses = {
        name: find_errors(own, truth, protocol, draws=draws, seed=seed)
        for name, own in (found.items() if errors else ())
    }
    result = compare_detections(
        found, truth, protocol, reference=reference, draws=draws, seed=seed, group_p=group_p,
        errors=analyses,
    )  # fmt: skip
    return Comparison(data, tuple(entrants), str(annotations or ""), result)


def analyze(
    model: str | Path | Run | Model | Predictor,
    *,
    name: str | None = None,
    corrections: str = "meant",
    dataset: str | PoseDataset | None = None,
    split: str | None = None,
    data_root: str | Path | None = None,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    category: str | Sequence[str | int] = (),
    skeleton: str | Skeleton | None = None,
    limit: int | None = None,
    draws: int = DRAWS,
    seed: int = SEED,
    runs: str | Path | None = None,
    progress: Progress = _QUIET,
    **how: Any,
) -> ErrorAnalysis:
    """Find what a model does wrong, and what each kind of error costs in AP.

        posebench.analyze("results.json", annotations="val.json").to_dataframe("errors")

    Args:
        model: a result file in COCO's format, a run folder, what `load_model` takes or returns, or
            what `evaluate` returns.
        name: what it is called; None: by its file, folder or recipe.
        corrections: `meant` puts a wrong joint where its similarity is what the taxonomy says;
            `published` where its published program puts it, which is nearer (docs/analysis.md).
        dataset, split, data_root, annotations, images, category, skeleton, limit: as for `compare`.
        draws: number of resamples of the images; 0: costs have no intervals, nor have those of a
            single image.
        seed: of the resamples.
        runs, progress, how: as for `compare`.

    Raises:
        UsageError: a name or an option does not exist or does not fit.
        DataError: a file is missing or wrong.
        ModelError: there is no such model, or it predicts other keypoints.
    """
    way = next((one for one in _CORRECTIONS if one == corrections), None)
    if way is None:
        raise unknown_name("way of correcting (--corrections)", corrections, _CORRECTIONS)
    if draws:
        _check_draws(draws)
    options = DataOptions(dataset, split, data_root, annotations, images, category, skeleton, limit)
    data, entrants = open_entrants(
        [model], options, names=None if name is None else [name], runs=runs, progress=progress,
        **how,
    )  # fmt: skip
    from posebench.bench.analysis import analyze as find_errors

    if len(data) < 2:
        draws = 0
    result = find_errors(
        entrants[0].detections, data.ground_truth(), data.protocol,
        corrections=way, draws=draws, seed=seed,
    )  # fmt: skip
    return ErrorAnalysis(data, tuple(entrants), str(annotations or ""), result)


def _check_draws(draws: int) -> None:
    if draws < 100:
        raise UsageError(
            f"An interval of 95 % needs at least 100 draws of the images, not {draws}."
        )


def _say_if_too_few(draws: int, models: int) -> None:
    """Say if no difference can be certain, since p is at least 1 / (draws + 1) before Holm."""
    pairs = models * (models - 1) // 2
    if pairs / (draws + 1) >= _LEVEL:
        warnings.warn(
            f"With {draws:,} draws and {pairs} pairs of models no p, corrected for all pairs, can "
            f"be below {_LEVEL}: take at least {round(pairs / _LEVEL):,} draws (--draws).",
            Notice,
            stacklevel=3,
        )
