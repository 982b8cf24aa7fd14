"""Whether the installed torch and torchvision fit together."""

from __future__ import annotations

from posebench.errors import PosebenchError


def check_torch_pair() -> None:
    """Refuse a torchvision built for another torch, whose later errors are hard to understand.

    Raises:
        PosebenchError: torchvision cannot be imported beside the installed torch.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise PosebenchError(
            f"torchvision does not load beside the installed torch ({error}): the two must come "
            "from one build. Make a new environment and install both at once: "
            "pip install torch torchvision"
        ) from error
