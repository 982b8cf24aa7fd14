"""The names of backends, which a command checks before anything slow is imported."""

from __future__ import annotations

from posebench.errors import unknown_name

FORMATS = {"onnxruntime": "onnx", "openvino": "openvino"}  # backend -> what it runs
BACKENDS = ("torch", "compile", *FORMATS)


def check_backend(name: str, *, auto: bool = True) -> None:
    """Check the name of a backend.

    Raises:
        UsageError: there is none of that name.
    """
    known = (*BACKENDS, "auto") if auto else BACKENDS
    if name not in known:
        raise unknown_name("backend", name, known)
