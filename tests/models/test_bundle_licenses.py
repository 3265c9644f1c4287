"""Licenses of bundles: read from model cards and headers of what is chosen, and from nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dentgen.models.bundle import find_bundle
from dentgen.models.bundle_files import downloaded_names
from dentgen.models.bundle_licenses import bundle_licenses, card_of
from dentgen.models.restricted_use import RESTRICTED_USE, use_restrictions
from dentgen.spec.model import ModelSpec
from tests.models.test_bundle_files import HUB

NOTHING = ModelSpec(adapters={})
OPENRAIL = "creativeml-openrail-m"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The miniature without its model card."""
    return Path(
        shutil.copytree(find_bundle("miniature"), tmp_path / "bundle", ignore=shutil.ignore_patterns("README.md"))
    )


def test_the_miniature_is_free_of_restrictions() -> None:
    licenses = bundle_licenses(ModelSpec(adapters={"blended": 1.0}, loras={"lcm": 1.0}), find_bundle("miniature"))
    assert licenses == ("apache-2.0",)
    assert use_restrictions(licenses) == ()


def test_cards_of_chosen_parts_count_and_those_of_others_do_not(bundle: Path) -> None:
    (bundle / "README.md").write_text(card_of("CreativeML-OpenRAIL-M "))
    (bundle / "adapters" / "blended" / "README.md").write_text(card_of("CC-BY-NC-4.0"))
    (bundle / "adapters" / "normal" / "README.md").write_text(card_of("mine: all rights"))
    assert bundle_licenses(NOTHING, bundle) == (OPENRAIL,)
    assert bundle_licenses(ModelSpec(adapters={"blended": 1.0}), bundle) == ("CC-BY-NC-4.0", OPENRAIL)
    assert bundle_licenses(ModelSpec(adapters={"normal": 1.0}), bundle) == (OPENRAIL, "mine: all rights")
    assert use_restrictions(("CC-BY-NC-4.0", OPENRAIL)) == (RESTRICTED_USE[OPENRAIL],)


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("CreativeML Open RAIL-M", OPENRAIL), ("CreativeML OpenRAIL-M License", OPENRAIL), ("OpenRAIL-M", OPENRAIL),
        ("CreativeML Open RAIL++-M", "openrail++"), ("openrail++", "openrail++"),
        ("BigScience OpenRAIL-M", "bigscience-openrail-m"), ("open source", "open source"),
    ],
)  # fmt: skip
def test_restrictions_are_found_in_every_spelling(bundle: Path, written: str, known: str) -> None:
    (bundle / "README.md").write_text(f"---\nlicense: [mit, {written!r}]\n---\n")
    licenses = bundle_licenses(NOTHING, bundle)
    assert set(licenses) == {"mit", known}
    assert use_restrictions(licenses) == ((RESTRICTED_USE[known],) if known in RESTRICTED_USE else ())


def test_a_loras_header_declares_its_license(bundle: Path) -> None:
    file = next((bundle / "loras" / "lcm").glob("*.safetensors"))
    save_file(load_file(file), file, metadata={"format": "pt", "modelspec.license": "openrail++"})
    assert bundle_licenses(ModelSpec(adapters={}, loras={"lcm": 1.0}), bundle) == ("openrail++",)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("# No front matter\n", ()),
        ("---\ntags: [dental]\n---\n", ()),
        ("---\nlicense: other\nlicense_name: clinic\n---\n", ("clinic",)),
        ("---\nlicense: [mit, cc0-1.0]\n---\n", ("cc0-1.0", "mit")),
        ("---\nlicense: [1, null]\n---\n", ()),
        ("---\nlicense: 'a\x1bb'\n---\n", ()),
        ("---\nlicense: " + "x" * 999 + "\n---\n", ("x" * 100,)),
        ("---\n- a list\n---\n", ()),
        ("---\nlicense: !!python/object/apply:os.system ['true']\n---\n", ()),
        ("---\nlicense: " + "[" * 5000 + "\n---\n", ()),
    ],
)
def test_any_card_is_read_or_passed_over(bundle: Path, card: str, expected: tuple[str, ...]) -> None:
    (bundle / "README.md").write_text(card)
    assert bundle_licenses(NOTHING, bundle) == expected


def test_an_unreadable_card_is_said(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    (bundle / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    assert bundle_licenses(NOTHING, bundle) == ()
    assert "README.md" in caplog.text


def test_cards_are_downloaded_with_the_parts_that_they_describe() -> None:
    names = [*HUB, "adapters/a/adapter_model.safetensors", "adapters/a/README.md", "notes/README.md"]
    cards = [name for name in downloaded_names(names) if name.endswith(".md")]
    assert cards == ["README.md", "adapters/a/README.md"]
    assert downloaded_names(["README.md"]) == []
