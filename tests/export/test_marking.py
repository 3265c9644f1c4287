"""Keys of watermarks, and samples with marked pictures: only the picture changes, and the key goes nowhere."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentgen.errors import ConditionError, SpecError
from dentgen.export.marking import Marker, pattern_in
from dentgen.export.source import ExportSample
from dentgen.export.watermark import THRESHOLD, marked, score, signs_of
from dentgen.records import COMPOSITE_MEDIA, PILLOW_FORMAT, TRAINED_ALGORITHMIC_MEDIA, ImageFormat
from dentgen.shards.tar import image_bytes
from tests.export.marked_builds import KEY, OTHER_KEY, decoded, key_file, scene

MAP = np.zeros((128, 128), np.uint8)


def sample(picture: np.ndarray, extension: ImageFormat = "png") -> ExportSample:
    content = image_bytes(picture, extension, TRAINED_ALGORITHMIC_MEDIA)
    origin = {"digital_source_type": TRAINED_ALGORITHMIC_MEDIA}
    return ExportSample("jaw", "jaw", "train", "", content, extension, MAP, MAP, None, origin=origin)


def refusal(file: str) -> SpecError:
    """What the check says of a wrong file."""
    with pytest.raises(SpecError) as caught:
        Marker(file).checked()
    return caught.value


@pytest.mark.parametrize("extension", list(PILLOW_FORMAT))
@pytest.mark.parametrize("wanted", [None, "png", "jpg"])
def test_pictures_are_marked_in_their_format(
    extension: ImageFormat, wanted: ImageFormat | None, tmp_path: Path
) -> None:
    given = sample(scene(1), extension)
    copy = Marker(key_file(tmp_path)).marked(given, wanted)
    assert copy.extension == (wanted or extension)
    image = Image.open(io.BytesIO(copy.picture))
    assert image.format == PILLOW_FORMAT[copy.extension]
    assert TRAINED_ALGORITHMIC_MEDIA.encode() in copy.picture
    assert score(decoded(copy.picture), signs_of(KEY)) > THRESHOLD
    assert copy.key == given.key
    assert copy.seg is given.seg


def test_lossless_copies_have_exactly_the_marked_pixels(tmp_path: Path) -> None:
    for extension in ("png", "webp"):
        copy = Marker(key_file(tmp_path)).marked(sample(scene(2), extension))
        assert np.array_equal(decoded(copy.picture), marked(scene(2), signs_of(KEY)))


def test_a_layouts_jpeg_is_encoded_once(tmp_path: Path) -> None:
    copy = Marker(key_file(tmp_path)).marked(sample(scene(2)), "jpg")
    assert copy.picture == image_bytes(marked(scene(2), signs_of(KEY)), "jpg", TRAINED_ALGORITHMIC_MEDIA)


@pytest.mark.parametrize(
    ("picture", "found"),
    [(scene(0, 100, 128), "128 x 100 pixels"), (np.zeros((128, 128, 3), np.uint8), "a mark of z 0.0")],
)
def test_what_cannot_carry_a_mark_is_told(picture: np.ndarray, found: str, tmp_path: Path) -> None:
    with pytest.raises(ConditionError) as caught:
        Marker(key_file(tmp_path)).marked(sample(picture))
    assert (caught.value.file, caught.value.found) == ("jaw", found)


def test_a_sample_that_contradicts_its_origin_is_refused(tmp_path: Path) -> None:
    composite = replace(sample(scene(1)), synthetic=False)
    with pytest.raises(SpecError) as caught:
        Marker(key_file(tmp_path)).marked(composite)
    assert (caught.value.key, caught.value.expected) == ("jaw", COMPOSITE_MEDIA)


@pytest.mark.parametrize("size", [16, 32, 4096])
def test_keys_of_any_content_have_an_identifier(size: int, tmp_path: Path) -> None:
    contents = [bytes(size), b"\xff" * size, (b"\r\n\x1a" * size)[:size]]
    found = [Marker(key_file(tmp_path, content, f"{number}.key")).checked() for number, content in enumerate(contents)]
    assert len(set(found)) == 3
    assert {len(identifier) for identifier in found} == {16}
    assert all(int(identifier, 16) >= 0 for identifier in found)


def test_the_identifier_of_a_key_never_changes(tmp_path: Path) -> None:
    """Else an export that an earlier version began could not continue."""
    assert Marker(key_file(tmp_path)).checked() == "18d81c4b8090f548"


@pytest.mark.parametrize(("size", "found"), [(0, "0 bytes"), (15, "15 bytes"), (4097, "more than 4096 bytes")])
def test_keys_of_other_sizes_are_refused(size: int, found: str, tmp_path: Path) -> None:
    file = key_file(tmp_path, b"K" * size)
    error = refusal(file)
    assert (error.file, error.found) == (file, found)
    assert "openssl rand" in error.expected
    assert "KKK" not in str(error)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for file, found in ((tmp_path / "missing", "No such file or directory"), (tmp_path, "Is a directory")):
        error = refusal(str(file))
        assert (error.file, error.found) == (str(file), found)


def test_a_key_is_read_once_and_again_by_the_next_check(tmp_path: Path) -> None:
    marker = Marker(key_file(tmp_path))
    marker.checked()
    assert np.array_equal(pattern_in(marker.key), signs_of(KEY))
    key_file(tmp_path, OTHER_KEY)
    assert np.array_equal(pattern_in(marker.key), signs_of(KEY))
    marker.checked()
    assert np.array_equal(pattern_in(marker.key), signs_of(OTHER_KEY))


def test_only_the_path_travels(tmp_path: Path) -> None:
    assert repr(Marker(key_file(tmp_path))) == f"Marker(key={str(tmp_path / 'watermark.key')!r})"
