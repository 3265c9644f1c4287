"""License texts as identifiers of SPDX and of the hub."""

from __future__ import annotations

import pytest

from dentgen.report.card.licenses import hub_license, license_reference, spdx_identifier


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["CC0-1.0"], {"license": "cc0-1.0"}),
        (["cc-by-4.0 "], {"license": "cc-by-4.0"}),
        (["ODbL-1.0"], {"license": "odbl"}),
        (["Clinic's own: v2"], {"license": "other", "license_name": "clinic-s-own-v2"}),
        (["x" * 500], {"license": "other", "license_name": "x" * 64}),
        (["***"], {"license": "other", "license_name": "unknown"}),
        ([""], {"license": "other", "license_name": "unknown"}),
        (["CC0-1.0", ""], {"license": "other", "license_name": "mixed"}),
        ([], {"license": "other", "license_name": "unknown"}),
    ],
)
def test_license_of_a_hub_card(licenses: list[str], expected: dict[str, str]) -> None:
    assert hub_license(licenses) == expected


def test_restrictions_of_the_bundle_are_linked_on_a_hub_card() -> None:
    found = hub_license(["CC0-1.0"], ["apache-2.0", "creativeml-openrail-m"])
    assert found == {
        "license": "other", "license_name": "cc0-1.0-and-creativeml-openrail-m",
        "license_link": "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    }  # fmt: skip
    assert hub_license(["CC0-1.0"], ["apache-2.0"]) == {"license": "cc0-1.0"}


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("openrail++", "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md"),
        ("cc-by-4.0 ", "https://spdx.org/licenses/CC-BY-4.0.html"),
        ("Clinic's own: v2", "Clinic's own: v2"),
        (" ", "unknown"),
    ],
)
def test_reference_of_a_license(text: str, reference: str) -> None:
    assert license_reference(text) == reference


def test_spdx_identifiers_are_matched_in_any_case_but_not_in_part() -> None:
    assert spdx_identifier(" mit") == "MIT"
    assert spdx_identifier("MIT or so") is None
