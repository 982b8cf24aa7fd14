from __future__ import annotations

import sys
from pathlib import Path

import pytest

from posebench.errors import PosebenchError
from posebench.torch_pair import check_torch_pair


def test_a_torchvision_of_another_build_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the real one says beside a torch of another build.
    stub = 'raise RuntimeError("operator torchvision::nms does not exist")\n'
    (tmp_path / "torchvision.py").write_text(stub)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PosebenchError, match="pip install torch torchvision"):
        check_torch_pair()


def test_a_fitting_pair_passes() -> None:
    check_torch_pair()
