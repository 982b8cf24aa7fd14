from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_torchvision_of_another_build_is_told_in_one_sentence(tmp_path: Path) -> None:
    # What the real one says beside a torch of another build.
    stub = 'raise RuntimeError("operator torchvision::nms does not exist")\n'
    (tmp_path / "torchvision.py").write_text(stub)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-m", "posebench", "models"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "pip install torch torchvision" in result.stderr
    assert "Traceback" not in result.stderr
