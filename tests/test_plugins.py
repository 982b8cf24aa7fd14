"""Plugins: files and packages that declare methods, datasets, metrics and predictors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posebench.errors import Notice, UsageError
from posebench.plugins import VARIABLE, Plugins, Registry, remedy

DATASET = """
from posebench.data.layout import Layout
from posebench.skeleton import COCO
from posebench.structures import Protocol

LAYOUT = Layout(
    name={name!r}, protocols=(Protocol(COCO),), splits=("train", "val"), train_split="train",
    eval_split="val", tree="x/*.jpg", source="tests", annotations="{{split}}.json",
)
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def registry(kind: Any = "metrics") -> tuple[Plugins, Registry[Any]]:
    """Return a registry with a built-in `ap`, which refuses other names that are taken."""
    plugins = Plugins()
    names: Registry[Any] = Registry(kind, plugins)

    def add(module: Any) -> None:
        for name, function in module.METRICS.items():
            if name in names:
                raise UsageError(f"there is another metric named {name!r}")
            names[name] = function

    names["ap"] = max
    plugins.take(kind, add)
    return plugins, names


def package(root: Path, name: str, groups: dict[str, str], **modules: str) -> None:
    """Write an installed package: its entry points by group, and its modules."""
    info = root / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[posebench.{group}]\n{entry}\n" for group, entry in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for module, text in modules.items():
        (root / f"{module}.py").write_text(text)


def test_a_file_and_a_package_go_through_one_registry(tmp_path: Path) -> None:
    package(tmp_path, "pose-extras", {"metrics": "own = extras"}, extras="METRICS = {'pck': min}")
    sys.path.append(str(tmp_path))
    (tmp_path / "mine.py").write_text("import beside\nMETRICS = {'pcp': sum}")
    (tmp_path / "beside.py").write_text("")
    plugins, names = registry()
    plugins.load_file(tmp_path / "mine.py")
    plugins.load_file(tmp_path / "mine.py")
    assert list(names) == ["ap", "pcp", "pck"] or list(names) == ["ap", "pck", "pcp"]
    assert (names["ap"], names["pck"], names["pcp"]) == (max, min, sum)
    assert plugins.owner(sys.modules["mine"]) == "mine.py"
    assert plugins.owner(sys.modules["extras"]) == "pose-extras"
    assert os.environ[VARIABLE] == str(tmp_path / "mine.py")  # for processes that are started


def test_files_of_the_environment_are_read_when_names_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first.py").write_text("METRICS = {'pcp': sum}")
    (tmp_path / "second.py").write_text("raise ValueError('no licence')")
    files = os.pathsep.join(str(tmp_path / name) for name in ("first.py", "second.py"))
    monkeypatch.setenv(VARIABLE, files)
    _, names = registry()
    assert "first" not in sys.modules
    with pytest.warns(Notice, match=r"second.py cannot be used: ValueError: no licence \(line 1"):
        assert "pcp" in names
    assert len(names) == 2  # and nothing is said twice


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere' (line 1 of"),
        ("METRICS = {", "SyntaxError: '{' was never closed (mine.py, line 1)"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("METRIC = {}", "it declares none of RECIPES, LAYOUT, METRICS, PREDICTORS"),
    ],
)
def test_a_file_that_fails_is_refused_with_its_cause(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError) as refused:
        Plugins().load_file(tmp_path / "mine.py")
    assert said in str(refused.value) and "mine.py cannot be used" in str(refused.value)


def test_a_file_that_is_no_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("METRICS = {}")
    for name, said in (
        ("json.py", "there is another module named json"),
        ("none.py", "nothing is there"),
        (".", "expected a Python file"),
    ):
        with pytest.raises(UsageError, match=said):
            Plugins().load_file(tmp_path / name)


def test_a_taken_name_is_refused_for_a_file_and_left_out_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("METRICS = {'ap': sum}")
    plugins, names = registry()
    plugins.load_file(tmp_path / "mine.py")
    with pytest.raises(UsageError, match=r"mine.py cannot be used: there is another .* 'ap'"):
        len(names)
    package(tmp_path, "pose-extras", {"metrics": "own = extras"}, extras="METRICS = {'ap': min}")
    sys.path.append(str(tmp_path))
    _, names = registry()
    with pytest.warns(
        Notice, match=r"pose-extras cannot be used: .*'ap'. Its metrics are left out"
    ):
        assert names["ap"] is max


def test_a_broken_package_is_a_note_that_names_it(tmp_path: Path) -> None:
    package(tmp_path, "pose-broken", {"metrics": "own = broken"}, broken="import nowhere")
    sys.path.append(str(tmp_path))
    _, names = registry()
    with pytest.warns(Notice, match="own of the package pose-broken cannot be used: ModuleNotF"):
        assert names["ap"] is max


def test_a_plugin_may_look_at_the_registry_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nMETRICS = {'as': sys.names['ap']}")
    plugins, names = registry()
    sys.names = names  # type: ignore[attr-defined]
    plugins.load_file(tmp_path / "mine.py")
    assert names["as"] is max


def test_what_is_missing_is_said_with_the_remedy() -> None:
    assert "posebench --plugin mine.py" in remedy("mine.py")
    assert "pip install pose-extras" in remedy("pose-extras")


# ----------------------------------------------------------------------------- the command line

# As in tests/test_startup.py: commands in one process, in which torch cannot be imported.
COMMANDS = """
import contextlib, io, json, sys
sys.modules["torch"] = None
from posebench.cli import main
for line in json.loads(sys.argv[1]):
    sys.argv = ["posebench", *line.split()]
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, out.getvalue(), error.getvalue()]))
"""


def commands(folder: Path, *lines: str) -> list[tuple[int, str, str]]:
    """Return the exit code, output and messages of commands, run in a folder and on its path."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(lines)],
        cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
    )  # fmt: skip
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_a_packages_dataset_is_listed_and_a_broken_one_is_a_note(tmp_path: Path) -> None:
    package(tmp_path, "barn-data", {"datasets": "barn = barn"}, barn=DATASET.format(name="barn"))
    package(tmp_path, "bad-data", {"datasets": "bad = bad"}, bad=DATASET.format(name="coco"))
    package(tmp_path, "bad-net", {"methods": "net = bad_net"}, bad_net="import nowhere")
    (tmp_path / "field.py").write_text(DATASET.format(name="field"))
    listed, helped, trained, clash, models = commands(
        tmp_path,
        "--plugin field.py data list --json",
        "train --help",
        "train cidd --dataset barn --plugin=field.py",
        "data list --plugin bad.py",
        "models cid_tiny",
    )
    assert listed[0] == 0 and '"barn"' in listed[1] and '"field"' in listed[1]
    assert "package bad-data" not in listed[1]
    assert listed[2].count("note:") == 1  # methods are not looked at
    assert "bad-data cannot be used: there is another dataset named 'coco'" in listed[2]
    assert helped[0] == 0 and "note:" not in helped[2]
    assert trained[0] == 2 and "Did you mean cid?" in trained[2]
    assert clash[0] == 2 and "bad.py cannot be used: there is another dataset" in clash[2]
    assert "No module named 'nowhere'" in trained[2] and models[0] == 0
