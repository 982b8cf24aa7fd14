"""Image files: read as the published loaders do, and told apart from what is none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from posebench.data.image_files import find_images, read_image
from posebench.errors import DataError


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """Return noise, which no format packs into a few bytes, with a red first row."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[0] = (255, 0, 0)
    return image


def write(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def test_a_png_is_read_as_rgb(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(write(tmp_path / "x.png", picture())), picture())


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    grey = picture()[..., 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    found = read_image(tmp_path / "grey.png")
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, axis=2))
    bgra = np.dstack([picture()[..., ::-1], grey])
    cv2.imwrite(str(tmp_path / "transparent.png"), bgra)
    np.testing.assert_array_equal(read_image(tmp_path / "transparent.png"), picture())


def test_the_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", picture()).rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(read_image(path), picture())


def test_a_turned_jpeg_is_read_as_it_is_stored(tmp_path: Path) -> None:
    image = Image.fromarray(picture())
    plain, turned = tmp_path / "plain.jpg", tmp_path / "turned.jpg"
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees when shown
    image.save(plain, quality=95)
    image.save(turned, quality=95, exif=exif)
    by_opencv = cv2.imread(str(turned))
    assert by_opencv is not None
    assert by_opencv.shape == (60, 40, 3)  # turned, its default
    np.testing.assert_array_equal(read_image(turned), read_image(plain))
    assert read_image(turned).shape == (40, 60, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("part", [0.5, 0.9, 0.999])
def test_a_truncated_picture_is_told(tmp_path: Path, suffix: str, part: float) -> None:
    path = write(tmp_path / f"x.{suffix}", picture())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match=rf"x\.{suffix} is cut short"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("size", [3, 20, 60])
def test_a_picture_cut_in_its_header_is_told(tmp_path: Path, suffix: str, size: int) -> None:
    path = write(tmp_path / f"x.{suffix}", picture())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=rf"x\.{suffix}"):
        read_image(path)


def test_a_thumbnails_end_is_not_taken_for_the_pictures(tmp_path: Path) -> None:
    thumbnail = write(tmp_path / "small.jpg", picture(8, 8)).read_bytes()
    path = write(tmp_path / "x.jpg", picture())
    plain = path.read_bytes()
    # An application segment behind the start of image: marker, length, content.
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = plain[:2] + segment + plain[2:]
    path.write_bytes(whole)
    assert read_image(path).shape == (40, 60, 3)
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="cut short"):
        read_image(path)


def test_a_progressive_jpeg_is_read_whole_and_told_when_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    cv2.imwrite(str(path), picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert read_image(path).shape == (40, 60, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match="cut short"):
        read_image(path)


@pytest.mark.parametrize("content", [b"no image", b"\xff\xd8\xff", b"<html></html>", b"\0" * 99])
def test_a_file_that_is_no_image_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.jpg is not an image that can be decoded"):
        read_image(path)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    with pytest.raises(DataError, match=r"x\.jpg is empty"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.parametrize("side", [14_000, 100_000])
def test_a_header_that_claims_too_many_pixels_is_told(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "x.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=r"x\.png claims more than 178 million pixels"):
        read_image(path)


def test_a_picture_of_a_hundred_million_pixels_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("L", (12_000, 9_000), 77).save(path)
    found = read_image(path)
    assert found.shape == (9_000, 12_000, 3)
    assert found[::999, ::999].min() == found[::999, ::999].max() == 77


@pytest.mark.parametrize("shape", [(1, 21), (2100, 100)])
def test_a_picture_too_thin_for_a_network_is_told(tmp_path: Path, shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="longer than 20 times"):
        read_image(write(tmp_path / "x.png", picture(*shape)))
    assert read_image(write(tmp_path / "y.png", picture(1, 20))).shape == (1, 20, 3)


def test_a_printers_jpeg_is_read_in_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "red.jpg")[8, 8].astype(int).tolist()
    assert red > 200
    assert green < 60
    assert blue < 60


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = picture().astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    found = read_image(tmp_path / "deep.png").astype(int)
    assert np.abs(found - picture()).max() <= 1


def test_any_name_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner mit Wörtern – 写真"
    folder.mkdir()
    plain = write(tmp_path / "x.png", picture())
    odd = folder / "Bild [1] 人.png"
    odd.write_bytes(plain.read_bytes())
    np.testing.assert_array_equal(read_image(odd), picture())
    assert find_images(folder) == [odd]


def test_an_absent_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        read_image(tmp_path / "x.jpg")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


def test_images_of_a_folder_come_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "c.jpeg"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == ["a.png", "b.JPG", "c.jpeg"]
    assert find_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_a_place_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="nothing is there"):
        find_images(tmp_path / "absent")
