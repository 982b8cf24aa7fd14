"""The papers' ablations: every method's studies, found by name."""

from __future__ import annotations

from posebench.studies import cid, dgcn, group_pose, higher_hrnet, posedet
from posebench.studies.base import Study, Variant

STUDIES: dict[str, Study] = {
    study.name: study
    for method in (cid, dgcn, group_pose, higher_hrnet, posedet)
    for study in method.STUDIES
}

__all__ = ["STUDIES", "Study", "Variant"]
