"""Stored documents: the same again, under the name of their content, and nothing from outside the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dentgen.errors import SpecError
from dentgen.spec.build import BuildSpec
from dentgen.studio.permalink import restore, store
from dentgen.studio.planes import Rectangle
from dentgen.studio.work import Snapshot, Work
from tests.studio.documents import SETTINGS, small_work

BASE = BuildSpec.model_validate({"conditions": {"size": [32, 48]}})


def painted() -> Work:
    work = small_work()
    work.change("x", {"segmentation": (Rectangle(0, 0, 4, 4), np.full((4, 4), 4, np.uint8))})
    shown, hidden = work.add_layer("a", "gold"), work.add_layer("b", "red")
    work.change("y", {hidden.plane: (Rectangle(5, 5, 9, 9), np.ones((4, 4), np.uint8))})
    work.change_layer(hidden.number, visible=False, blur=2.0)
    work.move_layer(shown.number, 1)
    work.set(prompt="one <b>tooth</b>", settings=SETTINGS.model_copy(update={"seed": 77, "guidance_scale": 3.0}))
    return work


def content(snapshot: Snapshot) -> dict[str, object]:
    layers = [(layer.name, layer.prompt, layer.visible, layer.blur) for layer in snapshot.layers]
    masks = [snapshot.masks[layer.number].tobytes() for layer in snapshot.layers]
    maps = {name: array.tobytes() for name, array in snapshot.record.conditions.items()}
    return {
        "prompt": snapshot.record.prompt, "settings": snapshot.settings, "layers": layers, "masks": masks, "maps": maps,
        "key": snapshot.record.key,
    }  # fmt: skip


def test_a_document_comes_back_as_it_was(tmp_path: Path) -> None:
    work = painted()
    name = store(tmp_path, work.snapshot())
    other = small_work()
    restore(tmp_path, name, other, BASE)
    assert content(other.snapshot()) == content(work.snapshot())
    assert store(tmp_path, other.snapshot()) == name, "the same document has the same name"
    assert len(list((tmp_path / "states").iterdir())) == 1


def test_other_documents_have_other_names(tmp_path: Path) -> None:
    work = painted()
    first = store(tmp_path, work.snapshot())
    work.change_layer(work.layers[0].number, visible=True)
    assert store(tmp_path, work.snapshot()) != first


@pytest.mark.parametrize("name", ["", "../../etc", "0" * 15, "0" * 17, "G" * 16, "0" * 16 + "\n", "/" * 16])
def test_only_names_of_states_are_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError) as caught:
        restore(tmp_path, name, small_work(), BASE)
    assert (caught.value.key, caught.value.found) == ("state", name)


def test_an_unknown_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        restore(tmp_path, "0123456789abcdef", small_work(), BASE)
    assert (caught.value.key, caught.value.found) == ("state", "no file")


def test_changed_files_are_refused(tmp_path: Path) -> None:
    name = store(tmp_path, painted().snapshot())
    state = tmp_path / "states" / name / "state.json"
    state.write_text(state.read_text().replace("77", "78"))
    work = small_work()
    version = work.version
    with pytest.raises(SpecError) as caught:
        restore(tmp_path, name, work, BASE)
    assert caught.value.found == "files that were changed"
    assert work.version == version, "the document stays"
