"""Values of the lesion map are distinct and named."""

from __future__ import annotations

from dentgen.phantom import lesion_map


def test_every_value_has_a_name_of_its_own() -> None:
    values = [value for name, value in vars(lesion_map).items() if name.isupper() and isinstance(value, int)]
    assert sorted(values) == list(range(1, 13))
    assert sorted(lesion_map.LESIONS) == [0, *sorted(values)]
    assert len(set(lesion_map.LESIONS.values())) == 13
