"""Described members are those of real samples."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from dentgen.report.card.members import sample_members
from dentgen.shards.plan_file import read_plan
from dentgen.shards.reader import read_samples
from tests.report.fake_builds import fake_plan


def test_members_are_those_of_a_real_sample(two_split_build: Path) -> None:
    described = sample_members(read_plan(str(two_split_build)))
    _, members = next(read_samples(str(two_split_build)))
    assert {member.extension for member in described} == members.keys()
    for member in described:
        if member.is_image:
            image = Image.open(io.BytesIO(members[member.extension]))
            assert image.get_format_mimetype() == member.media_type


@pytest.mark.parametrize(
    ("image_format", "media_type"), [("png", "image/png"), ("jpg", "image/jpeg"), ("webp", "image/webp")]
)
def test_picture_has_the_format_of_the_spec(image_format: str, media_type: str) -> None:
    picture, *rest = sample_members(fake_plan(output={"image_format": image_format}))
    assert (picture.name, picture.extension, picture.media_type) == ("image", image_format, media_type)
    assert {member.media_type for member in rest} == {"image/png", "application/json"}


def test_only_used_conditions_are_members_besides_labels() -> None:
    names = [member.name for member in sample_members(fake_plan(conditions={"use": ["depth"]}))]
    assert names == ["image", "seg", "fdi", "depth", "metadata"]
