"""CID's upper bound."""

from __future__ import annotations

from dataclasses import replace

import torch

from posebench.models.cid.model import CID
from posebench.models.cid.profile import ideal_outputs
from posebench.models.cid.recipes import CIDConfig
from posebench.preprocess import blank_batch
from posebench.skeleton import COCO
from posebench.structures import Resize
from tests.builders import make_sample

TINY = CIDConfig(backbone="hrnet_tiny", embedding=8)


def test_ideal_outputs_leave_out_people_below_the_size_limit() -> None:
    sample = make_sample(1, size=40)
    batch = blank_batch(sample, Resize(64))
    with torch.device("meta"):
        strict, lenient = (CID(replace(TINY, min_person_area=a), COCO) for a in (1024.0, 0.0))
    assert len(ideal_outputs(strict, batch).people) == 0
    assert len(ideal_outputs(lenient, batch).people) == 1
