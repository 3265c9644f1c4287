"""Builds of pictures that are not square: every member has the shape, labels are exact, pictures those of diffusers."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from dentgen.conditions.decode import decode_record
from dentgen.conditions.prepare import control_image, fit_map, fit_record
from dentgen.conditions.readers.raw import RawRecord
from dentgen.diffusion.canvas import Canvas
from dentgen.diffusion.guidance import Guidance
from dentgen.diffusion.keyed_tensor import KeyedTensor
from dentgen.documents.samples import SampleMetadata
from dentgen.export.run import Export, export
from dentgen.models.bundle import Bundle, find_bundle
from dentgen.pipeline.run import build
from dentgen.records import ConditionRecord
from dentgen.report.contact_sheet import write_contact_sheet
from dentgen.seeding import NoiseKey
from dentgen.shards.reader import read_samples
from dentgen.spec.build import BuildSpec
from tests.conftest import problems, small_spec, write_tar
from tests.diffusion.diffusers_pipelines import Case, CtrLoRA, diffusers_picture, serve_noise
from tests.diffusion.parts import full_control, prompt, table_of

Members = dict[str, dict[str, bytes]]
SHAPES = [(64, 96), (96, 64)]
#: Odd numbers of latents, so that the UNet's deeper cells reach beyond the picture: 9 x 13, 5 x 7, 3 x 4.
ODD = (72, 104)


def image(content: bytes) -> NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture
def source(tmp_path: Path, demo_members: Members) -> Path:
    keys = sorted(demo_members)[:2]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key] for key in keys})
    return tmp_path / "s"


def made(source: Path, out: Path, shape: tuple[int, int], /, **sections: Any) -> dict[str, dict[str, bytes]]:
    """Samples of a build in two steps, which verification has nothing against."""
    conditions = {"size": list(shape), **sections.pop("conditions", {})}
    build(small_spec(source, out, conditions=conditions, **sections), use_ray=False)
    assert problems(out) == []
    samples = dict(read_samples(str(out)))
    for key, members in samples.items():
        for name, content in members.items():
            assert name == "json" or image(content).shape[:2] == shape, (key, name)
        metadata = SampleMetadata.model_validate_json(members["json"])
        assert (metadata.height, metadata.width) == shape
    return samples


def record_of(members: dict[str, bytes], key: str, shape: tuple[int, int]) -> ConditionRecord:
    raw = RawRecord(key, key, {name: content for name, content in members.items() if not name.startswith("photo")})
    return fit_record(decode_record(raw, ("segmentation", "lighting")), shape, "pad")


def expected_picture(
    bundle: Bundle, spec: BuildSpec, metadata: SampleMetadata, hint: NDArray[np.uint8], served: list[Canvas], net: Any
) -> NDArray[np.uint8]:
    """The picture of diffusers' own pipeline at the build's height and width, with the sample's noise and prompt."""
    noise = NoiseKey(metadata.seed, metadata.source_key, metadata.variant)
    negative = spec.sampling.negative_prompt
    guidance = Guidance(spec.sampling.guidance_scale, "full", KeyedTensor(negative, prompt(bundle, negative).values))
    table = table_of(bundle, "unipc", spec.sampling.steps)
    served[:] = [Canvas(metadata.key, noise, table, prompt(bundle, metadata.prompt), guidance)]
    case = Case("unipc", spec.sampling.steps, "text", served[0], (metadata.prompt, negative), hint)
    return diffusers_picture(bundle, case, net, bundle.unet)


def check_pictures(
    bundle: Bundle, samples: Members, spec: BuildSpec, sources: Members, served: list[Canvas], net: Any
) -> None:
    """Pictures are at most a level of 255 from diffusers'."""
    for members in list(samples.values())[1::2]:
        metadata = SampleMetadata.model_validate_json(members["json"])
        record = record_of(sources[metadata.source_key], metadata.source_key, spec.conditions.shape)
        hint = control_image(record, spec.conditions.use, spec.conditions.alpha)
        expected = expected_picture(bundle, spec, metadata, hint, served, net)
        found = image(members["png"])
        assert found.shape == expected.shape == (*spec.conditions.shape, 3)
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
        assert found.std() > 5, "a picture without contrast proves nothing"


@pytest.mark.slow
def test_labels_are_the_fitted_maps_and_pictures_those_of_diffusers(
    source: Path, tmp_path: Path, demo_members: Members, miniature: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several shapes in one process: nothing of the first is left in the second."""
    for shape in (*SHAPES, ODD):
        samples = made(source, tmp_path / str(shape), shape, model={"adapters": {"blended": 0.8}})
        assert len(samples) == 4
        for members in samples.values():
            maps = demo_members[json.loads(members["json"])["source_key"]]
            nearest = partial(fit_map, shape=shape, fit="pad", nearest=True, empty=0)
            assert (image(members["seg.png"]) == nearest(image(maps["seg.png"]))).all()
            assert (image(members["fdi.png"]) == nearest(image(maps["fdi.png"]))).all()
            light = fit_map(image(maps["light.png"]), shape, "pad", nearest=False, empty=0)
            assert (image(members["light.png"]) == light).all()
        spec = small_spec(source, tmp_path, conditions={"size": shape})
        with monkeypatch.context() as patch:
            check_pictures(miniature, samples, spec, demo_members, serve_noise(patch), CtrLoRA.of(miniature))


@pytest.mark.slow
def test_a_full_controlnet_at_an_odd_number_of_latents(
    source: Path, tmp_path: Path, demo_members: Members, miniature: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hint and residuals have the picture's shape at every level, with guidance as well."""
    bundle = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    whole, _ = full_control(miniature)
    whole.save_pretrained(bundle / "controlnets" / "edges")
    sections: dict[str, Any] = {
        "model": {"bundle": str(bundle), "adapters": {}, "controlnets": {"edges": 0.8}},
        "sampling": {"guidance_scale": 2.0, "negative_prompt": "yellow teeth"},
    }
    samples = made(source, tmp_path / "out", ODD, **sections)
    spec = small_spec(source, tmp_path, conditions={"size": ODD}, **sections)
    check_pictures(miniature, samples, spec, demo_members, serve_noise(monkeypatch), whole)


@pytest.mark.slow
def test_photos_masks_and_scales_by_class_have_the_shape(source: Path, tmp_path: Path, demo_members: Members) -> None:
    """What is not repainted is the fitted photo, where it lies in it."""
    sections: dict[str, Any] = {
        "sampling": {"start_from": "photo", "repaint": ["tooth"]},
        "model": {"adapters": {"blended": {"tooth": 1.5, "background": 0.25}}},
        "conditions": {"fit": "crop"},
    }
    for shape in SHAPES:
        for key, members in made(source, tmp_path / str(shape), shape, **sections).items():
            photo = fit_map(
                image(demo_members[json.loads(members["json"])["source_key"]]["photo.png"]),
                shape, "crop", nearest=False, empty=0,
            ).astype(int)  # fmt: skip
            kept, picture = image(members["seg.png"]) != 2, image(members["png"])
            away = np.abs(picture - photo)[kept].mean()
            for turned in (photo[::-1], photo[:, ::-1], photo.transpose(1, 0, 2).reshape(photo.shape)):
                assert away < 0.6 * np.abs(picture - turned)[kept].mean(), key


@pytest.mark.slow
def test_findings_begin_on_white_of_the_shape(source: Path, tmp_path: Path) -> None:
    finding = {"kind": "restoration", "teeth": [11, 21, 36, 46], "probability": 1.0, "prompt": "{prompt}, gold crown"}
    for shape, centre in ((SHAPES[0], True), (ODD, False)):
        regions = {"bootstrap_steps": 1, "centre": centre}  # centering needs whole cells of the deepest level
        samples = made(source, tmp_path / str(shape), shape, findings=[finding], regions=regions, engine={"slots": 4})
        assert any(image(members["finding.png"]).any() for members in samples.values())


@pytest.mark.slow
def test_changes_of_finished_pictures_and_tiles_have_the_shape(source: Path, tmp_path: Path) -> None:
    changes = {"blur": 1.0, "noise": 0.02, "occluder": 1.0, "border": 1.0, "jpeg": 60}
    for shape in ((64, 136), (136, 64)):
        samples = made(source, tmp_path / str(shape), shape, augment=changes, model={"decode_tile": 64})
        assert all(
            {"occluder", "border"} <= json.loads(members["json"])["augment"].keys() for members in samples.values()
        )


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_the_contact_sheet_has_tiles_of_the_shape(shape: tuple[int, int], source: Path, tmp_path: Path) -> None:
    samples = made(source, tmp_path / "b", shape, sampling={"variants": 1})
    sheet = np.asarray(Image.open(write_contact_sheet(str(tmp_path / "b"))))
    (height, width), margin = shape, 4
    assert sheet.shape == (2 * (height + margin) + margin, 3 * (width + margin) + margin, 3)
    for row, members in enumerate(samples.values()):
        top, left = margin + row * (height + margin), margin + 2 * (width + margin)
        assert (sheet[top : top + height, left : left + width] == image(members["png"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_copies_keep_width_and_height_apart(shape: tuple[int, int], source: Path, tmp_path: Path) -> None:
    """What readers of COCO and YOLO make of the copies is the build's tooth numbers."""
    samples = made(source, tmp_path / "b", shape, sampling={"variants": 1})
    for layout, options in (("coco", {}), ("yolo-detect", {"teeth": "one"})):
        export(Export(str(tmp_path / "b"), str(tmp_path / layout), layout, **options), workers=1)  # type: ignore[arg-type]
    found = dict(coco_boxes(tmp_path / "coco", samples, shape))
    assert found.keys() == samples.keys()
    for key, boxes in found.items():
        (file,) = (tmp_path / "yolo-detect" / "labels").rglob(f"{key}.txt")
        lines = [[float(word) for word in line.split()[1:]] for line in file.read_text().splitlines()]
        scaled = np.array(sorted(lines)) * [shape[1], shape[0], shape[1], shape[0]]
        np.testing.assert_allclose(scaled, boxes, atol=1e-4)


def coco_boxes(
    out: Path, samples: Members, shape: tuple[int, int]
) -> Iterator[tuple[str, list[tuple[float, float, float, float]]]]:
    """Centres and sizes, pixels, of the teeth of every picture, whose masks are those of its FDI map."""
    for file in (out / "annotations").glob("*.json"):
        coco = COCO(str(file))
        for listed in coco.loadImgs(coco.getImgIds()):
            assert (listed["height"], listed["width"]) == shape
            fdi, boxes = image(samples[listed["key"]]["fdi.png"]), []
            for one in coco.loadAnns(coco.getAnnIds(listed["id"])):
                if one["category_id"] == one["attributes"]["tooth"]:
                    assert ((fdi == one["category_id"]) == coco.annToMask(one)).all()
                    left, top, width, height = one["bbox"]
                    boxes.append((left + width / 2, top + height / 2, width, height))
            yield listed["key"], sorted(boxes)
