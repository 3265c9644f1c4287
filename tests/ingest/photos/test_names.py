"""Keys of photographs: kept, made fit, or hidden behind a secret."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest

from dentgen.errors import SpecError
from dentgen.ingest.photos.names import read_name_key, shown_key

OUT = "s3://bucket/conditions"


def test_digests_are_those_of_hmac_sha256() -> None:
    secret = bytes(range(32))
    expected = hmac.digest(secret, b"anna/front.jpg", "sha256").hex()[:20]
    assert shown_key("anna/front.jpg", secret) == f"photo-{expected}"
    assert shown_key("anna/front.jpg", bytes(32)) != f"photo-{expected}"
    assert hashlib.sha256(b"anna/front.jpg").hexdigest()[:20] not in shown_key("anna/front.jpg", secret)


def test_names_are_kept_and_made_fit_without_a_secret() -> None:
    assert shown_key("p1/front_2", None) == "p1/front_2"
    digest = hashlib.sha256("Zähne 1".encode()).hexdigest()
    assert shown_key("Zähne 1", None) == f"Z_hne_1-{digest[:8]}"


def test_a_missing_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    made = read_name_key(tmp_path / "secret.key", OUT)
    assert len(made) == 32
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert read_name_key(tmp_path / "secret.key", OUT) == made
    assert read_name_key(tmp_path / "other.key", OUT) != made


@pytest.mark.parametrize("size", [0, 31, 4097])
def test_a_key_of_another_size_is_refused(size: int, tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"k" * size)
    with pytest.raises(SpecError) as caught:
        read_name_key(tmp_path / "secret.key", OUT)
    assert (caught.value.key, caught.value.found) == ("--name-key", f"{size} bytes")


def test_a_key_in_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_name_key(tmp_path / "nowhere" / "secret.key", OUT)
    assert caught.value.file.endswith("secret.key")


def test_the_secret_does_not_lie_with_the_records(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_name_key(tmp_path / "out" / "secret.key", str(tmp_path / "out"))
    assert caught.value.found == "a file inside the output"
    assert not (tmp_path / "out").exists()
