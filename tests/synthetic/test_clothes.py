from __future__ import annotations

from collections import Counter

import numpy as np

from posebench.synthetic.clothes import sample_outfit


def test_outfits_vary() -> None:
    rng = np.random.default_rng(0)
    assert len(Counter(sample_outfit(rng) for _ in range(100))) > 90
