"""The official tool as an oracle: pycocotools, quiet, on copies of what it is given."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posebench.structures import Protocol

NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def coco_metrics(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], protocol: Protocol
) -> dict[str, float]:
    """Return what pycocotools prints, with the protocol's sigmas and areas."""
    annotated, ours = copy.deepcopy(ground_truth), COCO()
    if protocol.area_of_box is not None:
        for annotation in annotated["annotations"]:
            _, _, width, height = annotation["bbox"]
            annotation["area"] = width * height * protocol.area_of_box
    ours.dataset = annotated
    with contextlib.redirect_stdout(io.StringIO()):
        ours.createIndex()
        evaluation = COCOeval(ours, ours.loadRes(copy.deepcopy(results)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(protocol.skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, np.asarray(evaluation.stats).tolist(), strict=True))
