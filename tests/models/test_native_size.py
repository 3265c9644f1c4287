"""The picture size of a bundle: taken by default, also by digests; another one is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from dentgen.errors import BundleError, SpecError
from dentgen.models.bundle import find_bundle
from dentgen.models.native_size import native_size, with_size
from dentgen.spec.build import BuildSpec


def spec(**conditions: object) -> BuildSpec:
    return BuildSpec.model_validate({"conditions": conditions})


def configure(bundle: Path, part: str, **values: object) -> None:
    file = bundle / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_null_and_the_native_size_are_the_same_build(caplog: pytest.LogCaptureFixture) -> None:
    assert native_size(find_bundle("miniature")) == 256
    resolved = with_size(spec())
    assert (resolved.conditions.size, resolved.conditions.shape) == (256, (256, 256))
    assert resolved.digest() == with_size(spec(size=256)).digest() == spec(size=256).digest()
    assert not caplog.records


def test_another_size_is_said_and_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert with_size(spec(size=64)).conditions.shape == (64, 64)
    (record,) = caplog.records
    assert record.args == (64, "miniature", 256)


def test_the_size_is_that_of_the_unet_and_the_autoencoder(bundle_copy: Path) -> None:
    configure(bundle_copy, "unet", sample_size=64)
    assert native_size(bundle_copy) == 512
    configure(bundle_copy, "vae", block_out_channels=[8, 8])
    assert native_size(bundle_copy) == 128


@pytest.mark.parametrize("size", [None, [16, 16], 0, -16, 10**9, True, "16", 16.0])
def test_a_unet_that_tells_no_size_is_an_error_only_if_it_is_asked(bundle_copy: Path, size: object) -> None:
    configure(bundle_copy, "unet", sample_size=size)
    model = {"bundle": str(bundle_copy)}
    with pytest.raises(BundleError) as caught:
        with_size(BuildSpec.model_validate({"model": model}))
    assert (caught.value.file, caught.value.key) == (str(bundle_copy / "unet"), "sample_size")
    named = with_size(BuildSpec.model_validate({"model": model, "conditions": {"size": 64}}))
    assert named.conditions.shape == (64, 64)


@pytest.mark.parametrize(("size", "told"), [([192, 336], False), ([512, 128], False), ([248, 256], False),
                                            ([128, 192], True), ([256, 384], True)])  # fmt: skip
def test_a_picture_that_is_not_square_is_compared_by_its_area(
    size: list[int], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert with_size(spec(size=size)).conditions.shape == tuple(size)
    assert [record.args for record in caplog.records] == [(size, "miniature", 256)] * told


@pytest.mark.parametrize("name", ["shape", "edge"])
def test_a_size_that_is_not_resolved_is_no_number(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        getattr(spec().conditions, name)
    assert (caught.value.key, caught.value.found) == ("conditions.size", "null")
