"""The check of a build's places before anything is written: nothing that is read may be written over."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dentgen import storage
from dentgen.errors import SpecError
from dentgen.models.bundle import MINIATURE
from dentgen.shards import layout
from dentgen.spec.build import BuildSpec
from dentgen.spec.quality import EMBEDDED
from dentgen.storage.overlap import is_within, require_apart

#: What stands in an output before its plan.
_BEGUN: Final = frozenset({layout.PLAN, layout.LEASE})


def require_safe_places(spec: BuildSpec) -> None:
    """Check that a build can write to its output, and that its output overlaps neither with source, bundle nor judges.

    An output inside the source folder is allowed: the source is read without the builds inside it.

    Raises:
        SpecError: If places overlap, or an output inside the source has files of others.
        StorageError: If the output's storage takes no conditional writes.
    """
    out, source = spec.output.path, spec.source.path
    require_apart("output.path", out, "source.path", source, inside_allowed=True)
    bundle = storage.expanded(spec.model.bundle)
    if bundle != MINIATURE and (storage.is_remote(bundle) or Path(bundle).is_dir()):
        require_apart("output.path", out, "model.bundle", bundle)
    if (judges := spec.quality.judges) and judges != EMBEDDED:
        require_apart("output.path", out, "quality.gate.judges", judges)
    storage.require_writable(out)
    if is_within(out, source):
        _require_no_records(out)


def _require_no_records(out: str) -> None:
    """An output inside the source is passed over when the source is read, so it may not hold records itself."""
    foreign = sorted(name for name in storage.list_names(out) if name not in _BEGUN and not name.startswith("."))
    if foreign and not storage.exists(storage.join(out, layout.plan_head())):
        raise SpecError(
            file=storage.without_secrets(out), key="output.path", found=f"{foreign[0]} in a folder inside source.path",
            expected="an empty folder, or a build",
        )  # fmt: skip
