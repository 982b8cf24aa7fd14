"""Experiments of a study."""

from __future__ import annotations

import pytest

from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.experiments import resolve, with_epochs
from posebench.errors import UsageError
from posebench.models import RECIPES
from posebench.studies import Study, Variant


def test_a_shorter_schedule_keeps_its_proportions() -> None:
    short = with_epochs(RECIPES["cid_hrnet_w32_coco"], 35)
    assert (short.epochs, short.lr_drops) == (35, (22, 30))


def test_a_study_is_either_run_or_answered_elsewhere() -> None:
    with pytest.raises(UsageError, match="posebench speed"):
        resolve(StudyConfig("cid/time", "synthetic", "cid_tiny"))
    with pytest.raises(ValueError, match="either variants or a command"):
        Study("cid/x", "A0", "Table 0", "nothing")
    with pytest.raises(ValueError, match="two variants of one name"):
        Study("cid/x", "A0", "Table 0", "x", variants=(Variant("a"), Variant("a")))
    with pytest.raises(ValueError, match="not have as variants"):
        Study("cid/x", "A0", "T", "x", variants=(Variant("a"),), expected=(("a", "b"),))
