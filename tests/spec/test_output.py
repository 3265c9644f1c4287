"""The output and quality sections: what of them decides bytes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dentgen.spec.build import BuildSpec


def test_the_form_of_images_decides_bytes_and_the_rest_does_not() -> None:
    def digest(**sections: object) -> str:
        return BuildSpec.model_validate(sections).digest()

    same = digest()
    assert digest(output={"path": "elsewhere"}) == digest(quality={"max_rejected": 0.9}) == same
    assert same not in {digest(output={"image_format": "jpg"}), digest(output={"png_level": 1})}


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"output": {"path": ""}}, ("output", "path")),
        ({"output": {"png_level": 10}}, ("output", "png_level")),
        ({"quality": {"gate": "strict"}}, ("quality", "gate")),
        ({"quality": {"max_rejected": 1.1}}, ("quality", "max_rejected")),
    ],
)
def test_what_cannot_be_an_output_is_refused(sections: dict[str, Any], key: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        BuildSpec.model_validate(sections)
    assert [fault["loc"] for fault in caught.value.errors()] == [key]
