"""What two methods share. Importing it makes sure that the installed torch can be used."""

from posebench.errors import PosebenchError


def _check_torch() -> None:
    """Refuse a torchvision of another build than torch, which fails in places hard to understand.

    Raises:
        PosebenchError: torchvision does not load.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise PosebenchError(
            f"torchvision does not load beside the installed torch ({error}): the two must come "
            "from one build. Make a new environment and install both at once: "
            "pip install torch torchvision"
        ) from error


_check_torch()
