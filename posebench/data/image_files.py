"""Reading image files as the published loaders do, with errors that say what is wrong."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from posebench.errors import DataError

# Pillow warns of large images below the limit at which it refuses them.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# A network scales the short side to its input size, so a longer and thinner image would not fit
# into memory.
MAX_ASPECT = 20

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the (H, W, 3) RGB pixels of an image file, ignoring its EXIF orientation as published.

    Raises:
        DataError: the file is missing, cut short, not an image, too large or too thin.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"The image {path} is not there.") from None
    except OSError as error:
        raise DataError(f"The image {path} cannot be read: {error.strerror}.") from None
    if not data:
        raise DataError(f"The image {path} is empty: copy or download it again.")
    # OpenCV fills the missing part of a truncated image with grey, without an error.
    if _is_truncated(data):
        raise DataError(f"The image {path} is cut short: copy or download it again.")
    if _is_bomb(data):
        raise DataError(
            f"The image {path} claims more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} "
            "million pixels, which would not fit into memory: make it smaller."
        )
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # the header claims more pixels than OpenCV accepts
        image = None
    if image is None:
        raise DataError(f"The file {path} is not an image that can be decoded.")
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise DataError(
            f"The image {path} is {width} x {height}: one side is longer than {MAX_ASPECT} times "
            "the other. Crop it to the people."
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_size(path: Path) -> tuple[int, int]:
    """Return the width and height in an image's header, without regard to EXIF orientation.

    Raises:
        DataError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise DataError(f"The image {path} is not there.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"The file {path} is not an image that can be decoded.") from error


def find_images(path: Path, *, recursive: bool = False) -> list[Path]:
    """Return `path` itself if it is a file, or the images in a folder, sorted by name.

    Args:
        recursive: also take those in sub-folders, except hidden ones.

    Raises:
        DataError: there is nothing at `path`, or the folder has no images.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"Expected an image or a folder of images at {path}: nothing is there.")
    images = _below(path) if recursive else sorted(filter(_is_image_file, path.iterdir()))
    if not images:
        hint = ""
        if not recursive and any(child.is_dir() for child in path.iterdir()) and _below(path):
            hint = " Its sub-folders have some: --recursive takes them."
        raise DataError(
            f"The folder {path} has no images: expected files that end in "
            f"{', '.join(IMAGE_SUFFIXES)}.{hint}"
        )
    return images


def _below(folder: Path) -> list[Path]:
    """Return the images in a folder and its sub-folders, without hidden files and folders."""
    images: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(filter(_is_image_file, images))


def _is_image_file(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _is_bomb(data: bytes) -> bool:
    """Return whether an image's header claims more pixels than Pillow considers safe."""
    try:
        # OpenCV's own limit is three gigabytes. Pillow reads only the header here.
        Image.open(io.BytesIO(data)).close()
    except Image.DecompressionBombError:
        return True
    except (OSError, ValueError, SyntaxError):
        return False  # OpenCV decides what is an image
    return False


def _is_truncated(data: bytes) -> bool:
    if data.startswith(b"\xff\xd8"):
        # In a JPEG's coded data 0xff is never followed by 0xd9, so an end marker after the last
        # start of scan is the image's own; that of an embedded thumbnail lies before it.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    return False
