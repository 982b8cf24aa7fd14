"""Commands that compute nothing start without the libraries that are slow to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# The last two decide most of what the first cost: they pull in torch's compiler.
SLOW = ("torch", "torchvision", "timm", "numba", "scipy", "pandas", "matplotlib")

# Runs each command line in one process, in which the slow libraries cannot be imported.
RUN_ALL = """
import contextlib, io, json, sys
blocked, lines = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(blocked))
from posebench.cli import main
results = []
for line in lines:
    sys.argv = ["posebench", *line.split()]
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    results.append((code, " ".join(error.getvalue().split())))
print(json.dumps(results))
"""

COMMANDS = {
    "--help": (0, ""),
    "--version": (0, ""),
    "train --help": (0, ""),
    "data list": (0, ""),
    "models": (0, ""),
    "models cid_tiny": (0, ""),
    "models cid --dataset coco --sort ap": (0, ""),
    "tables": (0, ""),
    "data doctor nowhere": (3, "Expected a dataset at nowhere"),
    "data synth out --layout foo": (2, "no layout named 'foo'"),
    "train cid --dataset cocoo": (2, "Did you mean coco?"),
    "train cidd --dataset coco": (2, "Did you mean cid?"),
    "train cid --dataset coco --precision fp8": (2, "Known: auto, bf16, fp32"),
    "train cid --dataset coco --set epoch=3": (2, "Did you mean epochs?"),
    "train cid --dataset coco --device gpu": (2, "choose auto, cpu or cuda"),
    "eval cid --oracle --set lr=x": (2, "found 'x'"),
    "eval nowhere": (4, ".onnx, .xml, .pt2) at nowhere, but found nothing"),
    "eval cid": (4, "cid is a method"),
    "eval --predictions x": (2, "name it with --dataset"),
    "eval --predictions x --dataset coco --flip": (2, "holds its predictions already"),
    "eval --predictions x --dataset coco --scales 1,2": (2, "holds its predictions already"),
    "eval nowhere --scales big": (2, "such as 0.5,1,2, not 'big'"),
    "speed --models cidd": (2, "Did you mean cid?"),
    "speed --models cid --precision fp8": (2, "Known: bf16, fp16, fp32"),
    "flops --models cidd": (2, "Did you mean cid?"),
    "speed --protocol papers": (2, "There is no"),
    "ablate": (0, ""),
    "ablate cid/x": (2, "cid/"),
    "ablate cid/embedding --set embeding=8": (2, "Did you mean"),
    "ablate cid/embedding --precision fp8": (2, "Known: auto, bf16, fp32"),
    "tables cid/44": (2, "cid/"),
    "viz x.mp4 --heatmaps": (2, "leave them out for a video"),
    "compare x.json y.json": (2, "--annotations, or the dataset with --dataset"),
    "compare x.json": (2, "at least two models"),
    "analyze x.json --corrections mean": (2, "Did you mean meant?"),
    "weights import x --recipe cidd": (2, "no recipe named 'cidd'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    arguments = json.dumps((SLOW, list(COMMANDS)))
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, arguments],
        capture_output=True, text=True, check=True, cwd=tmp_path_factory.mktemp("empty"),
    )  # fmt: skip
    return {line: (code, error) for line, (code, error) in zip(
        COMMANDS, json.loads(done.stdout), strict=True
    )}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_computes_nothing_starts_quickly(
    command: str, results: dict[str, tuple[int, str]]
) -> None:
    code, sentence = results[command]
    assert "halted" not in sentence  # a blocked library was imported
    expected_code, words = COMMANDS[command]
    assert code == expected_code
    assert words in sentence


def test_the_engine_is_as_quick_to_import_as_torch(tmp_path: Path) -> None:
    # Everything that training and evaluation import before they compute.
    code = (
        "import sys; from posebench.engine import Model, evaluate, train;"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'torch'" in done.stdout
    for name in SLOW[1:]:
        assert f"'{name}'" not in done.stdout


def test_reports_need_no_torch() -> None:
    code = "import sys, posebench.viz.result_report; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'posebench.viz.draw'" in done.stdout and "'torch'" not in done.stdout


def test_a_torchvision_of_another_build_is_one_sentence(tmp_path: Path) -> None:
    stub = 'raise RuntimeError("operator torchvision::nms does not exist")\n'
    (tmp_path / "torchvision.py").write_text(stub)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "sys.argv = ['posebench', 'eval', 'cid', '--dataset', 'synthetic', '--oracle'];"
        "from posebench.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install torch torchvision" in " ".join(done.stderr.split())
