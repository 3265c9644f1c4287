"""Rendered records: deterministic, labelled by construction, described truly by their prompts."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from dentgen.conditions.labels import FDI_NUMBERS, RESTORATION, TOOTH, mirror_normal
from dentgen.conditions.splits import drawn_split
from dentgen.phantom.anatomy import Dentition
from dentgen.phantom.camera import OCCLUSAL_VIEWS, VIEWS, View
from dentgen.phantom.light import sample_lighting
from dentgen.phantom.prompt import ARCH_OF_VIEW, LIGHT_WORD, SCAN_LIGHT_WORD
from dentgen.phantom.render import Phantom, render_patient
from dentgen.quality.metrics import rgb_to_lab
from dentgen.seeding import numpy_generator
from tests.phantom.orders import arch_order

SIZE = 96
RELIT_VIEWS: tuple[View, ...] = ("frontal", "lower-occlusal")


@pytest.fixture(scope="module")
def views() -> dict[str, Phantom]:
    """Records of one patient by view."""
    return {view: phantoms[0] for view, phantoms in _rendered("permanent").items()}


@pytest.fixture(scope="module")
def relit() -> list[Phantom]:
    """Two views under three lightings each."""
    return list(render_patient(3, 8, 64, RELIT_VIEWS, lightings=3))


@pytest.fixture(scope="module", params=["permanent", pytest.param("deciduous", marks=pytest.mark.slow)])
def records(request: pytest.FixtureRequest) -> dict[View, list[Phantom]]:
    """Records of one patient, or of two children, by view."""
    return _rendered(request.param)


@lru_cache
def _rendered(dentition: Dentition) -> dict[View, list[Phantom]]:
    """Rendered once: pytest sets a fixture with parameters up again for every test."""
    found: dict[View, list[Phantom]] = {view: [] for view in VIEWS}
    for number in (40,) if dentition == "permanent" else (40, 41):
        for view, phantom in zip(VIEWS, render_patient(5, number, SIZE, dentition=dentition), strict=True):
            found[view].append(phantom)
    return found


def same(a: Phantom, b: Phantom) -> bool:
    maps = all((a.maps[name] == b.maps[name]).all() for name in a.maps)
    return maps and (a.picture == b.picture).all() and (a.key, a.prompt) == (b.key, b.prompt)


def centroids(fdi: np.ndarray) -> dict[int, tuple[float, float]]:
    """Row and column of every tooth with at least 20 pixels."""
    found = {}
    for tooth in set(np.unique(fdi).tolist()) - {0}:
        rows, columns = np.nonzero(fdi == tooth)
        if len(rows) >= 20:
            found[tooth] = (rows.mean(), columns.mean())
    return found


def test_five_views_have_all_maps(views: dict[str, Phantom]) -> None:
    assert tuple(views) == VIEWS
    for phantom in views.values():
        assert phantom.picture.shape == (SIZE, SIZE, 3)
        assert {name: (array.dtype.name, array.ndim) for name, array in phantom.maps.items()} == {
            "seg": ("uint8", 2), "fdi": ("uint8", 2), "light": ("uint8", 2), "normal": ("uint8", 3),
            "curvature": ("uint8", 2), "depth": ("uint16", 2),
        }  # fmt: skip
        assert phantom.group == "s5-p000040"
        assert phantom.split == drawn_split(phantom.group)
        assert "." not in phantom.key


def test_a_view_rendered_alone_is_the_same(views: dict[str, Phantom]) -> None:
    (alone,) = render_patient(5, 40, SIZE, ("left",))
    assert same(alone, views["left"])


def test_maps_agree_with_each_other(views: dict[str, Phantom]) -> None:
    for phantom in views.values():
        seg, fdi = phantom.maps["seg"], phantom.maps["fdi"]
        assert (np.isin(seg, [TOOTH, RESTORATION]) == (fdi > 0)).all()
        assert set(np.unique(fdi).tolist()) - {0} <= FDI_NUMBERS
        solid = seg > 0
        for name in ("light", "depth"):
            assert not phantom.maps[name][~solid].any(), name
        assert (phantom.maps["depth"][solid] >= 5535).all()
        normal = phantom.maps["normal"][solid].astype(float) / 127.5 - 1
        assert np.abs(np.linalg.norm(normal, axis=1) - 1).max() < 0.03
        assert (normal[:, 2] > -0.02).mean() > 0.99, "visible surfaces face the viewer"


def test_the_patient_s_right_is_at_image_left(views: dict[str, Phantom]) -> None:
    columns = np.arange(SIZE)[None]
    for view, left, right in (("frontal", 1, 2), ("upper-occlusal", 1, 2), ("lower-occlusal", 4, 3)):
        quadrant = views[view].maps["fdi"] // 10
        mean = {q: (columns * (quadrant == q)).sum() / (quadrant == q).sum() for q in (left, right)}
        assert mean[left] < SIZE / 2 < mean[right], view


def test_occlusal_views_show_one_arch(views: dict[str, Phantom]) -> None:
    for view, quadrants in (("upper-occlusal", {1, 2}), ("lower-occlusal", {3, 4})):
        found = set(np.unique(views[view].maps["fdi"] // 10).tolist()) - {0}
        assert found == quadrants
        assert ARCH_OF_VIEW[views[view].attributes["view"]] in views[view].prompt  # type: ignore[index]


def test_teeth_are_in_order_in_every_view(records: dict[View, list[Phantom]]) -> None:
    """Columns grow along the arch in front, left and right views, angles around the arch in occlusal ones.

    In side views the teeth of the far side are hidden behind the front ones: only those of the near side are in order.
    """
    for view, phantoms in records.items():
        for phantom in phantoms:
            dentition = phantom.attributes["dentition"]
            places = centroids(phantom.maps["fdi"])
            for arch in ("upper", "lower"):
                order = arch_order(arch, dentition)  # type: ignore[arg-type]
                near = {"right": order[: len(order) // 2], "left": order[len(order) // 2 :]}.get(view, order)
                shown = [places[tooth] for tooth in near if tooth in places]
                if view in OCCLUSAL_VIEWS:
                    middle = np.mean([*places.values()], axis=0)
                    outward = 1 if view == "upper-occlusal" else -1  # incisors at the top, or at the bottom
                    steps = [np.arctan2(column - middle[1], outward * (middle[0] - row)) for row, column in shown]
                else:
                    steps = [column for _, column in shown]
                assert all(a < b for a, b in pairwise(steps)), (phantom.key, arch)


def test_upper_teeth_are_above_lower_ones(records: dict[View, list[Phantom]]) -> None:
    for view, phantoms in records.items():
        for phantom in phantoms:
            quadrant = phantom.maps["fdi"] // 10
            upper, lower = np.isin(quadrant, [1, 2, 5, 6]), np.isin(quadrant, [3, 4, 7, 8])
            if view in OCCLUSAL_VIEWS:
                hidden, shown = (lower, upper) if view == "upper-occlusal" else (upper, lower)
                assert shown.any()
                assert not hidden.any()
            else:
                rows = np.arange(SIZE)[:, None]
                assert (rows * upper).sum() / upper.sum() < (rows * lower).sum() / lower.sum(), phantom.key


def test_children_are_named_in_key_and_prompt(records: dict[View, list[Phantom]]) -> None:
    for phantom in records["frontal"]:
        child = phantom.attributes["dentition"] == "deciduous"
        assert phantom.key.startswith("s5-c0000" if child else "s5-p0000")
        assert ("milk teeth" in phantom.prompt) == child


@pytest.mark.slow
@pytest.mark.parametrize("view", ["left", "upper-occlusal", "lower-occlusal"])
def test_a_mirror_flips_occlusal_views_and_keeps_tooth_numbers(view: View) -> None:
    (direct,) = render_patient(5, 40, SIZE, (view,), lightings=1)
    (mirrored,) = render_patient(5, 40, SIZE, (view,), lightings=1, mirrors=True)
    if view not in OCCLUSAL_VIEWS:
        assert same(mirrored, direct)
        return
    assert mirrored.key == f"s5-p000040-mirror-{view}"
    assert (direct.attributes["mirrored"], mirrored.attributes["mirrored"]) == ("no", "yes")
    assert mirrored.prompt == direct.prompt.replace(" view,", " view in a mirror,")
    assert (mirrored.picture == direct.picture[:, ::-1]).all()
    for name in ("seg", "fdi", "light", "curvature", "depth"):
        assert (mirrored.maps[name] == direct.maps[name][:, ::-1]).all(), name
    assert (mirrored.maps["normal"] == mirror_normal(direct.maps["normal"].astype(np.uint8))).all()
    patients_right = np.isin(mirrored.maps["fdi"] // 10, [1, 4])
    assert (np.arange(SIZE) * patients_right).sum() / patients_right.sum() > SIZE / 2


@pytest.mark.slow
def test_words_for_shade_and_gum_agree_with_the_pictures() -> None:
    """Yellow teeth have a higher b* in the picture than white ones."""
    yellowness: dict[str, list[float]] = {}
    for number in range(12):
        for phantom in render_patient(21, number, 48, ("frontal",)):
            tooth = rgb_to_lab(phantom.picture)[phantom.maps["seg"] == TOOTH]
            yellowness.setdefault(str(phantom.attributes["shade"]), []).append(tooth[:, 2].mean())
            assert f"{phantom.attributes['shade']} teeth" in phantom.prompt
            assert f"{phantom.attributes['gum']} gums" in phantom.prompt
    assert np.mean(yellowness["yellow"]) > np.mean(yellowness["white"]) + 2


@pytest.mark.integration
def test_keys_number_the_lightings(relit: list[Phantom]) -> None:
    keys = [f"s3-p000008-{view}{light}" for view in RELIT_VIEWS for light in ("", "-l1", "-l2")]
    assert [phantom.key for phantom in relit] == keys
    assert {phantom.group for phantom in relit} == {"s3-p000008"}


@pytest.mark.slow
def test_further_lightings_change_no_earlier_record(relit: list[Phantom]) -> None:
    plain = render_patient(3, 8, 64, RELIT_VIEWS)
    assert all(same(a, b) for a, b in zip(relit[::3], plain, strict=True))
    fewer = list(render_patient(3, 8, 64, RELIT_VIEWS[:1], lightings=2))
    assert all(same(a, b) for a, b in zip(relit, fewer, strict=False))


@pytest.mark.integration
def test_the_first_lighting_is_drawn_from_the_key_s_stream() -> None:
    for phantom in render_patient(3, 9, 16, RELIT_VIEWS):
        assert phantom.attributes["lighting"] == sample_lighting(numpy_generator(3, phantom.key, "light")).kind


def test_only_the_light_differs_within_a_view(relit: list[Phantom]) -> None:
    for first, *others in (relit[:3], relit[3:]):
        for other in others:
            assert {name for name in first.maps if (first.maps[name] != other.maps[name]).any()} == {"light"}
            assert (first.picture != other.picture).any()
            word, other_word = (LIGHT_WORD[phantom.attributes["lighting"]] for phantom in (first, other))  # type: ignore[index]
            assert word != other_word
            assert first.prompt.replace(word, other_word) == other.prompt
            kept = first.attributes.keys() - {"lighting"}
            assert all(first.attributes[name] == other.attributes[name] for name in kept)


def test_pictures_are_brighter_where_the_lighting_map_is(relit: list[Phantom]) -> None:
    agreement = []
    for first, *others in (relit[:3], relit[3:]):
        teeth = first.maps["seg"] == TOOTH
        for other in others:
            clay = other.maps["light"][teeth].astype(float) - first.maps["light"][teeth]
            picture = (other.picture[teeth].astype(float) - first.picture[teeth]).mean(1)
            agreement.append(np.corrcoef(clay, picture)[0, 1])
    assert np.mean(agreement) > 0.5


@pytest.mark.integration
def test_scans_differ_from_photographs_in_key_and_prompt_and_share_the_rest() -> None:
    """Patient, camera and lamps are the same; lips hide some findings in photographs."""
    (photo,), scans = render_patient(7, 2, 48, ("left",)), render_patient(7, 2, 48, ("left",), lightings=2, look="scan")
    scan, relit_scan = scans
    assert (scan.key, relit_scan.key) == ("s7-p000002-scan-left", "s7-p000002-scan-left-l1")
    assert (scan.group, scan.split) == (photo.group, photo.split)
    kept = photo.attributes.keys() - {"look", "missing_teeth", "restorations", "caries"}
    assert all(scan.attributes[name] == photo.attributes[name] for name in kept)
    assert (photo.attributes["look"], scan.attributes["look"]) == ("photo", "scan")
    assert scan.prompt.startswith("a scan model of ")
    assert scan.prompt.endswith(SCAN_LIGHT_WORD[scan.attributes["lighting"]])  # type: ignore[index]
    assert "photo" not in scan.prompt
    assert {name for name in scan.maps if (scan.maps[name] != relit_scan.maps[name]).any()} == {"light"}
    assert (scan.picture != relit_scan.picture).any()
