"""Graphs compiled by torch.compile."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from posebench.errors import UnsupportedError
from posebench.exporting.program import Program, compiled_session, cpp_compiler


class Small(nn.Module):
    """A convolution: a graph that compiles in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"maps": self.conv(images).relu()}


def program() -> Program:
    torch.manual_seed(0)
    example = (torch.randn(1, 3, 8, 8),)
    exported = torch.export.export(Small().eval(), example, strict=False)
    return Program(exported, example, ("maps",), reads_padding=False)


@pytest.mark.skipif(
    shutil.which(cpp_compiler()) is None,
    reason=f"torch.compile needs a C++ compiler, and {cpp_compiler()} is not installed",
)
def test_a_compiled_graph_computes_the_same() -> None:
    traced = program()
    images = torch.randn(1, 3, 8, 8)
    found: Mapping[str, Tensor] = compiled_session(traced)(images, None)
    expected = traced.exported.module()(images)["maps"]
    torch.testing.assert_close(found["maps"], expected, rtol=1e-4, atol=1e-5)


def test_a_missing_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UnsupportedError, match="no-such-compiler is not installed: install g"):
        compiled_session(program())


def test_what_cannot_be_compiled_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object) -> None:
        raise TorchDynamoException("no such operator")

    monkeypatch.setattr("torch.compile", lambda module, **options: failing)
    monkeypatch.setattr("shutil.which", lambda name: name)
    with pytest.raises(UnsupportedError, match=r"cannot compile the network .* another --backend"):
        compiled_session(program())(torch.zeros(1, 3, 8, 8))
