"""An analysis as tidy tables: a row per observation, plain columns, ids as in the files.

AP and its differences are in percent, as in all tidy rows; OKS, scores, precision and recall are
fractions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from posebench.bench.analysis.values import (
    CLASSES,
    DETECTION_KINDS,
    OKS_QUANTILES,
    QUANTILES,
    Analysis,
    KeypointErrors,
)
from posebench.bench.statistics import Interval
from posebench.metrics.matching import THRESHOLDS, Indices


def tables_of(analysis: Analysis) -> dict[str, pd.DataFrame]:
    """Return the tables of an analysis by name (see `Analysis.tables`)."""
    return {
        "errors": _errors(analysis),
        "keypoints": pd.DataFrame([_keypoint(one) for one in analysis.keypoints]),
        "joints": _joints(analysis),
        "detections": _detections(analysis),
        "people": _people(analysis),
        "calibration": _calibration(analysis),
        "curves": _curves(analysis),
        "groups": _groups(analysis),
        "suppression": _suppression(analysis),
    }


def _errors(analysis: Analysis) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "kind": one.kind,
            "mode": one.mode,
            "corrections": analysis.corrections,
            "count": one.count,
            "ap": 100 * analysis.ap.value,
            "ap_after": 100 * one.ap_after,
            **_interval("cost", one.cost),
            "draws": analysis.draws,
            **{
                f"ap_after_{round(100 * t)}": 100 * value
                for t, value in zip(THRESHOLDS, one.by_threshold.tolist(), strict=True)
            },
        }
        for one in analysis.costs
    ]
    return pd.DataFrame(rows)


def _interval(name: str, value: Interval) -> dict[str, float]:
    """Return an AP or a difference in percent, with its limits."""
    return {
        name: 100 * value.value, f"{name}_low": 100 * value.low, f"{name}_high": 100 * value.high,
    }  # fmt: skip


def _keypoint(errors: KeypointErrors) -> dict[str, Any]:
    row: dict[str, Any] = {"keypoint": errors.keypoint, "count": errors.count, **errors.shares}
    for level, value in zip(OKS_QUANTILES, errors.oks, strict=True):
        row[f"similarity_q{round(100 * level)}"] = value
    for size, values in errors.pixels.items():
        for level, value in zip(QUANTILES, values, strict=True):
            row[f"pixels_{size}_q{round(100 * level)}"] = value
    for level, value in zip(QUANTILES, errors.relative, strict=True):
        row[f"relative_q{round(100 * level)}"] = value
    return row


def _joints(analysis: Analysis) -> pd.DataFrame:
    joints, people, detections = analysis.joints, analysis.people, analysis.detections
    area = people.area[joints.person]
    return pd.DataFrame(
        {
            "detection": detections.position[joints.detection],
            "image_id": _image_ids(analysis, people.image[joints.person]),
            "person_id": _person_ids(analysis, joints.person),
            "keypoint": _names(analysis.keypoint_names, joints.keypoint),
            "class": _names(CLASSES, joints.kind),
            "similarity": joints.similarity,
            "similarity_after": joints.similarity_after,
            "pixels": joints.pixels,
            "relative": np.divide(
                joints.pixels, np.sqrt(area), out=np.full(len(area), np.nan), where=area > 0
            ),
            "at_person_id": _person_ids(analysis, joints.at_person),
            "at_keypoint": _names(analysis.keypoint_names, joints.at_keypoint),
        }
    )


def _detections(analysis: Analysis) -> pd.DataFrame:
    rows = analysis.detections
    return pd.DataFrame(
        {
            "detection": rows.position,
            "image_id": _image_ids(analysis, rows.image),
            "score": rows.score,
            "best_oks": rows.best_oks,
            "person_id": _person_ids(analysis, rows.person),
            "oks": rows.oks,
            "kind_50": _names(DETECTION_KINDS, rows.kind_50),
            "kind_75": _names(DETECTION_KINDS, rows.kind_75),
            "optimal_score": rows.optimal_score,
        }
    )


def _people(analysis: Analysis) -> pd.DataFrame:
    rows = analysis.people
    return pd.DataFrame(
        {
            "image_id": _image_ids(analysis, rows.image),
            "person_id": _person_ids(analysis, np.arange(len(rows))),
            "area": rows.area,
            "labelled": rows.labelled,
            "overlaps": rows.overlaps,
            "crowd_index": rows.crowd_index,
            "truncated": rows.truncated,
            "ignored": rows.ignored,
            "found_at": rows.found_at,
        }
    )


def _calibration(analysis: Analysis) -> pd.DataFrame:
    bins = analysis.calibration
    return pd.DataFrame(
        {
            "low": bins.low,
            "high": bins.high,
            "score": bins.score,
            "oks": bins.oks,
            "true_50": bins.true_50,
            "true_75": bins.true_75,
            "count": bins.count,
        }
    )


def _curves(analysis: Analysis) -> pd.DataFrame:
    curves = analysis.curves
    points, thresholds = len(curves.recall), len(curves.precision)
    return pd.DataFrame(
        {
            "oks": np.repeat(np.round(THRESHOLDS, 2), points),
            "recall": np.tile(curves.recall, thresholds),
            "precision": curves.precision.ravel(),
            "score": curves.score.ravel(),
        }
    )


def _groups(analysis: Analysis) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "by": one.by,
            "group": one.group,
            "people": one.people,
            "images": one.images,
            **_interval("ap", one.ap),
            **one.classes,
        }
        for one in analysis.groups
    ]
    return pd.DataFrame(rows)


def _suppression(analysis: Analysis) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "limit": one.limit,
            "ap": 100 * one.ap,
            **_interval("gain", one.gain),
            "removed": one.removed,
            "removed_true": one.removed_true,
        }
        for one in analysis.suppression
    ]
    return pd.DataFrame(rows)


def _names(names: tuple[str, ...], index: Any) -> pd.Categorical[str]:
    """Return names as a column; an index of -1 is empty."""
    return pd.Categorical.from_codes(np.asarray(index, np.int64), pd.Index(list(names)))


def _image_ids(analysis: Analysis, index: Indices) -> list[int | str]:
    return [analysis.image_ids[one] for one in index.tolist()]


def _person_ids(analysis: Analysis, index: Indices) -> list[str | None]:
    return [analysis.person_ids[one] if one >= 0 else None for one in index.tolist()]
