"""Reading image files as the published loaders do, with errors that say what is wrong."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from posebench.errors import DataError

# Pillow warns of large images below the limit at which it refuses them.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

if "OPENCV_LOG_LEVEL" not in os.environ:
    # OpenCV reports on stderr what it cannot decode; the errors here say so.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# A network scales the short side to its input size, so a longer and thinner image would not fit
# into memory.
MAX_ASPECT = 20

# OpenCV or Pillow decodes these, and a folder's files are chosen by them. HEIC is among them so
# that it gets a sentence of its own, or is read where a plug-in of Pillow decodes it.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jp2",
    ".jfif", ".jpe", ".mpo", ".j2k", ".apng", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
    ".hdr", ".ras", ".tga", ".pcx", ".sgi", ".ico", ".heic", ".heif", ".hif",
)  # fmt: skip

USUAL_SUFFIXES = ", ".join(IMAGE_SUFFIXES[:10]) + " or another image format's ending"

# The number of bits in use is rounded up to one that cameras have.
_BITS = (8, 10, 12, 14, 16, 32)

_ORIENTATION = 0x0112  # EXIF's tag
# For each EXIF orientation: whether rows and columns are exchanged first, and then whether the rows
# and the columns are reversed.
_TURNS = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip

# Whose pictures move if they have several frames; those of a TIFF file are pages.
_MOVING, _PAGED = ("GIF", "PNG", "WEBP", "AVIF"), ("TIFF",)

# How the size in a file fits the size that annotations are for.
SizeFit = Literal["equal", "turned by EXIF", "swapped", "other"]


def read_image(path: Path, *, upright: bool = False) -> NDArray[np.uint8]:
    """Return the (H, W, 3) RGB pixels of an image file.

    A picture of more than 8 bits is scaled so that the bits in use fill 8: one of 12 bits in 16 is
    not dark. One of several frames or pages is read as its first.

    Args:
        path: the file; its content decides on the format, not its name.
        upright: turn the picture as its EXIF orientation says. Published loaders do not.

    Raises:
        DataError: the file is missing, cut short, not an image, too large or too thin.
    """
    data = _read(path)
    # OpenCV fills the missing part of a truncated image with grey, without an error.
    if _is_truncated(data):
        raise DataError(f"The image {path} is cut short: copy or download it again.")
    if _is_bomb(data):
        raise DataError(
            f"The image {path} claims more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} "
            "million pixels, which would not fit into memory: make it smaller."
        )
    image = _decoded(data)
    if image is None and _is_heic(data):
        raise DataError(
            f"The image {path} is in the HEIC format of phones, which neither OpenCV nor Pillow "
            "decodes: convert it to JPEG (an iPhone takes JPEG pictures with Settings, Camera, "
            "Formats, Most Compatible)."
        )
    if image is None:
        raise DataError(f"The file {path} is not an image that can be decoded.")
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise DataError(
            f"The image {path} is {width} x {height}: one side is longer than {MAX_ASPECT} times "
            "the other. Crop it to the people."
        )
    return _turned(image, _orientation(data)) if upright else image


def check_size(
    path: Path, size: tuple[int, int], annotated: tuple[int, int], *, upright: bool = False
) -> SizeFit:
    """Return whether an image's size is "equal" to the annotated one, or "swapped".

    Args:
        path: the file.
        size: width and height of the image as it was read.
        annotated: the width and height that its annotations are for.
        upright: whether it was turned as its EXIF orientation says.

    Raises:
        DataError: it has another size; the message says if EXIF is the reason.
    """
    fit = fit_size(path, size, annotated)
    if fit in ("equal", "swapped"):
        return fit
    sizes = f"{path} is {size[0]} x {size[1]}, but its annotations are for {annotated[0]} x "
    if fit == "turned by EXIF" and upright:
        raise DataError(
            f"The image {sizes}{annotated[1]}: they fit it as it is stored, and not turned as its "
            "EXIF orientation says. Leave out --exif upright."
        )
    if fit == "turned by EXIF":
        raise DataError(
            f"The image {sizes}{annotated[1]}: they fit it turned upright, as its EXIF orientation "
            "says, which is ignored by default, as published loaders do. Read the images upright "
            'with --exif upright, in Python exif="upright".'
        )
    raise DataError(
        f"The image {sizes}{annotated[1]}: it is another image or was resized. "
        "Download it again; posebench data doctor lists all such images."
    )


def read_size(path: Path, *, upright: bool = False) -> tuple[int, int]:
    """Return the width and height in an image's header.

    Args:
        path: the file.
        upright: of the picture turned as its EXIF orientation says.

    Raises:
        DataError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turn = _TURNS.get(_orientation_of(image)) if upright else None
    except FileNotFoundError:
        raise DataError(f"The image {path} is not there.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"The file {path} is not an image that can be decoded.") from error
    return (height, width) if turn and turn[0] else (width, height)


def read_orientation(path: Path) -> int:
    """Return the EXIF orientation that `upright` would undo: 2 to 8, or 1 for none."""
    try:
        with Image.open(path) as image:
            return _orientation_of(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1


def fit_size(path: Path, stored: tuple[int, int], annotated: tuple[int, int]) -> SizeFit:
    """Return how an image file fits the size that its annotations are for.

    Args:
        path: the file, whose EXIF orientation is read if the sizes differ.
        stored: width and height of its pixels as they are stored.
        annotated: width and height in the annotations.
    """
    if stored == annotated:
        return "equal"
    if stored != annotated[::-1]:
        return "other"
    turn = _TURNS.get(read_orientation(path))
    return "turned by EXIF" if turn and turn[0] else "swapped"


def count_frames(path: Path) -> int:
    """Return the number of frames of a moving picture (GIF, PNG, WebP, AVIF), or of TIFF pages.

    It is 1 for other files, also for those that are no images.
    """
    try:
        with Image.open(path) as image:
            counted = image.format in _MOVING or image.format in _PAGED
            return int(getattr(image, "n_frames", 1)) if counted else 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1


def is_moving(path: Path) -> bool:
    """Return whether a file is a picture of several frames that follow one another in time."""
    try:
        with Image.open(path) as image:
            return image.format in _MOVING and bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


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
        raise DataError(
            f"Expected an image, a video or a folder at {path}, but nothing is there: check the "
            "path."
        )
    images = [file for file in list_files(path, recursive=recursive) if is_image_name(file)]
    if not images:
        hint = ""
        if not recursive and any(map(is_image_name, _walk(path, recursive=True))):
            hint = " Its sub-folders have some: --recursive takes them."
        raise DataError(
            f"The folder {path} has no images: expected files that end in {USUAL_SUFFIXES}.{hint}"
        )
    return images


def list_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the files in a folder, sorted by name, without hidden ones.

    Args:
        folder: the folder.
        recursive: also those in sub-folders, except hidden ones.
    """
    return sorted(_walk(folder, recursive=recursive))


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def is_image_name(path: Path) -> bool:
    """Return whether a file's name ends like that of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"The image {path} is not there.") from None
    except OSError as error:
        raise DataError(f"The image {path} cannot be read: {error.strerror}.") from None
    if not data:
        raise DataError(f"The image {path} is empty: copy or download it again.")
    return data


def _decoded(data: bytes) -> NDArray[np.uint8] | None:
    """Return RGB pixels as they are stored; None: neither OpenCV nor Pillow can decode them."""
    image = _by_opencv(data, cv2.IMREAD_COLOR)
    if image is None or image.dtype != np.uint8 or _may_be_deep(data):
        deep = _by_opencv(data, cv2.IMREAD_UNCHANGED)
        if deep is not None and deep.dtype != np.uint8:
            colours = _three_channels(deep)
            # Where all 16 bits are in use, OpenCV's own conversion stays.
            if image is None or image.dtype != np.uint8 or _used_bits(colours) < 16:
                image = _eight_bits(colours)
    if image is None or image.dtype != np.uint8:
        return _by_pillow(data)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _by_opencv(data: bytes, flags: int) -> NDArray[Any] | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # the header claims more pixels than OpenCV accepts
        return None
    return None if image is None else np.asarray(image)


def _by_pillow(data: bytes) -> NDArray[np.uint8] | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                return _eight_bits(_three_channels(np.asarray(image)))
            return np.asarray(image.convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


def _may_be_deep(data: bytes) -> bool:
    """Return whether an image may have more than 8 bits; AVIF's are scaled by its decoder."""
    if data.startswith(b"\x89PNG"):
        return data[24:25] == b"\x10"
    return data.startswith((b"II", b"MM", b"P5", b"P6", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"))


def _used_bits(image: NDArray[Any]) -> int:
    """Return how many bits the values of an image need, as cameras have them."""
    top = image.max(initial=0)
    return next((bits for bits in _BITS if top < 2**bits), 64)


def _eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image of any type with 8 bits: by the bits in use, or from [0, 1]."""
    if image.dtype == np.uint16:
        return np.asarray(image >> (_used_bits(image) - 8), np.uint8)
    values = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0).clip(0)
    # The brightest pixels of an image in [0, 1] may lie a little above.
    unit = np.issubdtype(image.dtype, np.floating) and values.max(initial=0) <= 2
    scale = 255.0 if unit else 2.0 ** (8 - _used_bits(values))
    return np.asarray((values * scale).clip(0, 255), np.uint8)


def _three_channels(image: NDArray[Any]) -> NDArray[Any]:
    """Return a grey image, or one with transparency, with three channels."""
    if image.ndim == 2 or image.shape[2] < 3:
        grey = image if image.ndim == 2 else image[..., 0]
        return np.repeat(grey[..., None], 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def _orientation(data: bytes) -> int:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _orientation_of(image)
    except (OSError, ValueError, SyntaxError):
        return 1


def _orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image file; 1 where its decoder has turned it already."""
    if image.format == "TIFF":
        return 1
    orientation = image.getexif().get(_ORIENTATION)
    return orientation if orientation in _TURNS else 1


def _turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation not in _TURNS:
        return image
    exchanged, rows, columns = _TURNS[orientation]
    turned = image.transpose(1, 0, 2) if exchanged else image
    turned = turned[::-1] if rows else turned
    return np.ascontiguousarray(turned[:, ::-1] if columns else turned)


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
    )  # fmt: skip


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
