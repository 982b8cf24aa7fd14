"""The printed AP of published checkpoints beside what is measured here, under the same protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posebench.data import find_layout
from posebench.published import DIFFERENCES, Published

if TYPE_CHECKING:
    from posebench.bench.statistics import Interval
    from posebench.engine import Provenance

Verdict = Literal["holds", "near", "explained", "fails", "partial", "untested"]

HOLDS, NEAR = 0.1, 0.3  # AP, in percent

Progress = Callable[[Published, int, int], None]  # images done, and all


@dataclass(frozen=True)
class CheckedAccuracy:
    """A published checkpoint, and what it reaches here."""

    entry: Published
    verdict: Verdict
    interval: Interval | None  # of the AP, as fractions; None: untested
    images: int  # evaluated
    needs: tuple[str, ...] = ()  # what would make it testable
    folder: Path | None = None  # of the evaluation
    provenance: Provenance | None = None  # of what was measured

    @property
    def measured(self) -> float | None:
        """The AP in percent."""
        return None if self.interval is None else 100 * self.interval.value


def check_accuracy(
    entries: Iterable[Published],
    *,
    data_root: Path | None = None,
    limit: int | None = None,
    device: str = "auto",
    batch_size: int = 8,
    runs: Path | None = None,
    progress: Progress = lambda entry, done, total: None,
) -> list[CheckedAccuracy]:
    """Evaluate the checkpoints that are here on the datasets that are here.

    Nothing is downloaded. Each is evaluated as its AP was printed: with the flip test or without,
    at its own input size.

    Args:
        entries: of the registry.
        data_root: the folder that contains the dataset folders; None: the usual one.
        limit: evaluate on this many images at most; the verdict is then `partial`.
        device: as for `pick_device`.
        batch_size: images per forward pass, at most.
        runs: where the run folders are made, whose rows `posebench tables` shows; None: nothing is
            written.
        progress: is called after each image.

    Raises:
        DataError, ModelError: a dataset or a checkpoint that is here is damaged.
    """
    return [
        _check(entry, data_root, limit, device, batch_size, runs, progress) for entry in entries
    ]


def judge(entry: Published, measured: float) -> Verdict:
    """Return whether an AP in percent, measured on the whole split, is the printed one."""
    off = abs(measured - entry.ap)
    if off <= HOLDS + 1e-9:
        return "holds"
    if entry.differs and off <= NEAR + 1e-9:
        return "near"
    return "explained" if entry.explanation else "fails"


def accuracy_rows(checked: Iterable[CheckedAccuracy]) -> list[dict[str, Any]]:
    """Return tidy rows of checked checkpoints, AP in percent."""
    return [
        {
            "checkpoint": one.entry.name,
            "recipe": one.entry.recipe,
            "source": one.entry.source,
            "dataset": one.entry.dataset,
            "split": one.entry.split,
            "printed": one.entry.ap,
            "measured": one.measured,
            "low": None if one.interval is None else 100 * one.interval.low,
            "high": None if one.interval is None else 100 * one.interval.high,
            "images": one.images,
            "verdict": one.verdict,
            "explanation": one.entry.explanation or DIFFERENCES.get(one.entry.differs, ""),
            "needs": " and ".join(one.needs),
            "run": str(one.folder or ""),
            **(one.provenance.columns() if one.provenance else {}),
        }
        for one in checked
    ]


def _check(
    entry: Published,
    data_root: Path | None,
    limit: int | None,
    device: str,
    batch_size: int,
    runs: Path | None,
    progress: Progress,
) -> CheckedAccuracy:
    layout = find_layout(entry.dataset)
    needs = _missing(entry, data_root)
    if needs:
        return CheckedAccuracy(entry, "untested", None, 0, needs)
    from posebench.bench.draws import SEED
    from posebench.bench.ledger import write_row
    from posebench.bench.statistics import ap_interval
    from posebench.data import open_dataset
    from posebench.data.limited import FirstImages
    from posebench.engine import (
        evaluate,
        new_run,
        pick_device,
        provenance_of,
        write_evaluation,
    )
    from posebench.engine.runs import hardware
    from posebench.engine.weights import fetch_published
    from posebench.metrics.resampling import matches
    from posebench.recipe import with_inference

    checkpoint = fetch_published(entry)
    recipe = with_inference(checkpoint.recipe.on(entry.dataset), flip=entry.flip, scales=None)
    dataset = open_dataset(entry.dataset, entry.split, root=data_root)
    if limit is not None:
        dataset = FirstImages(dataset, limit)
    place = pick_device(device)
    folder = None if runs is None else new_run(runs, "eval", recipe.name, entry.dataset)
    evaluation = evaluate(
        replace(checkpoint, recipe=recipe).model().to(place),
        dataset,
        recipe.inference,
        batch_size=batch_size,
        progress=lambda done, total: progress(entry, done, total),
    )
    interval = ap_interval(matches(dataset.ground_truth(), evaluation.results, dataset.protocol))
    provenance = provenance_of(
        recipe=recipe, dataset=dataset, weights=checkpoint.path, seeds={"bootstrap": SEED}
    )
    write_evaluation(
        folder, evaluation, recipe=recipe, dataset=dataset, tta=recipe.inference.label,
        device=place, precision="fp32", provenance=provenance,
        intervals={"AP": (interval.low, interval.high)},
    )  # fmt: skip
    whole = len(dataset) == layout.images_in.get(entry.split, -1)
    verdict: Verdict = judge(entry, 100 * interval.value) if whole else "partial"
    checked = CheckedAccuracy(entry, verdict, interval, len(dataset), (), folder, provenance)
    if folder is not None:
        [row] = accuracy_rows([checked])
        write_row(folder, row, hardware(place))
    return checked


def _missing(entry: Published, data_root: Path | None) -> tuple[str, ...]:
    """Return the commands that would bring what is not here, and use it."""
    from posebench.data import data_root as resolved

    layout = find_layout(entry.dataset)
    folder = resolved(data_root) / entry.dataset
    data = entry.split in layout.files_in(folder)
    if entry.here and data:
        return ()
    needs = []
    if not entry.here:
        needs.append(f"posebench weights download {entry.name}" if entry.url else entry.by_hand())
    place = "" if data_root is None else f" --data-root {data_root}"
    check = f"posebench verify --accuracy --models {entry.name}{place}"
    needs.append(check if data else f"{check} (with {layout.source} in {folder})")
    return tuple(needs)
