"""What `posebench viz` is asked to draw, and which options fit that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Suffixes of the files that can be written.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
# What looks like the ending of a file, and not like the end of a folder's name (run.2, run.v2).
_FILE_ENDING = re.compile(r"\.(?!v\d+$)[a-z][a-z0-9]{1,4}$", re.IGNORECASE)


def is_moving(sources: Sequence[str]) -> bool:
    """Return whether there is a video; an animated picture is one if it is the only source."""
    from posebench.data.image_files import is_image_name
    from posebench.data.video import is_video

    if len(sources) == 1:
        return is_video(sources[0])
    return any(is_video(source) for source in sources if not is_image_name(Path(source)))


def check_options(
    moving: bool,
    *,
    heatmaps: bool,
    steps: bool,
    annotations: Path | None,
    category: list[str] | None,
) -> None:
    """Check the options on what is drawn.

    Raises:
        UsageError: they do not fit together.
    """
    from posebench.errors import UsageError

    if moving and (heatmaps or annotations or steps):
        raise UsageError(
            "--heatmaps, --steps and --annotations are for images: leave them out for a video."
        )
    if steps and (heatmaps or annotations):
        raise UsageError("--steps draws a separate figure: leave out --heatmaps and --annotations.")
    if category and not annotations:
        raise UsageError("--category chooses from the file of --annotations: name that too.")


def check_track(track: bool, moving: bool) -> None:
    """Check that there is a video to follow people through.

    Raises:
        UsageError: there is none.
    """
    from posebench.errors import UsageError

    if track and not moving:
        raise UsageError("--track follows people through a video: leave it out for images.")


def check_out(to: Path | None, moving: bool) -> None:
    """Check --out: a name that looks like another file would become a folder.

    Raises:
        UsageError: it looks like one.
    """
    from posebench.errors import UsageError

    own = VIDEO_SUFFIXES if moving else PICTURE_SUFFIXES
    if to is None or to.is_dir() or to.suffix.lower() in own or not _FILE_ENDING.search(to.name):
        return
    what = "A video" if moving else "A picture"
    raise UsageError(
        f"{what} is written to a file that ends in {', '.join(own)}, or into a folder, but --out "
        f"is {to}: choose such an ending, or make the folder {to} first."
    )


def is_file(to: Path | None, suffixes: tuple[str, ...]) -> bool:
    """Return whether --out names the one file to write, and not a folder."""
    return to is not None and to.suffix.lower() in suffixes and not to.is_dir()


def check_video_options(
    moving: bool, sources: Sequence[str], *, recursive: bool, verbose: bool, as_json: bool
) -> None:
    """Check that a video is drawn alone, without the options for images.

    Raises:
        UsageError: it is not.
    """
    from posebench.errors import UsageError

    if moving and len(sources) > 1:
        raise UsageError(
            f"A video or a camera is drawn alone, but found {len(sources)} sources: run viz once "
            "for each."
        )
    if moving and (recursive or verbose or as_json):
        raise UsageError(
            "--recursive, --verbose and --json are for images: leave them out for a video."
        )
