"""The values that CID's configuration accepts."""

from __future__ import annotations

import pytest

from posebench.models.cid.recipes import CIDConfig


def test_recalibration_cannot_be_off_altogether() -> None:
    with pytest.raises(ValueError, match="both are off"):
        CIDConfig(spatial=False, channel=False)
