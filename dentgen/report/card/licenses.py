"""Map the license texts of sources and bundles to Hugging Face identifiers and SPDX URLs.

The texts are untrusted, so only identifiers known here are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from dentgen.models.restricted_use import RESTRICTED_USE

_MAX_LENGTH: Final = 64
#: SPDX licenses common for data, https://spdx.org/licenses/.
_SPDX: Final = (
    "CC0-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
    "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0",
    "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0", "C-UDA-1.0", "ODbL-1.0", "ODC-By-1.0", "PDDL-1.0", "Apache-2.0", "BSD-3-Clause", "MIT",
)  # fmt: skip
_BY_NAME: Final = {identifier.lower(): identifier for identifier in _SPDX}
#: Hugging Face identifiers other than SPDX's in lower case, https://huggingface.co/docs/hub/repositories-licenses.
_HUB_NAMES: Final = {"C-UDA-1.0": "c-uda", "ODbL-1.0": "odbl", "ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl"}


def spdx_identifier(license: str) -> str | None:
    """The SPDX identifier of a license text, None if it is not a known one."""
    return _BY_NAME.get(license.strip().lower())


def license_reference(license: str) -> str:
    """The URL of a license, or its text if it has none that is known; "unknown" for an empty text."""
    if license in RESTRICTED_USE:
        return RESTRICTED_USE[license]
    identifier = spdx_identifier(license)
    return f"https://spdx.org/licenses/{identifier}.html" if identifier else license.strip() or "unknown"


def hub_license(licenses: Sequence[str], bundle: Sequence[str] = ()) -> dict[str, str]:
    """The license keys of a Hugging Face card.

    Args:
        licenses: Distinct license texts of the sources, "" for none.
        bundle: Licenses of the model bundle.

    Returns:
        ``license`` alone if all sources share one that Hugging Face knows, else ``other`` with a ``license_name``.
        Likewise ``other`` if the bundle's license restricts the use of the pictures, with a link to the restrictions.
    """
    restricting = sorted(set(bundle) & RESTRICTED_USE.keys())
    if not restricting:
        return _source_license(licenses)
    own = _source_license(licenses)
    names = [own.get("license_name", own["license"]), *restricting]
    return {
        "license": "other",
        "license_name": _slug("-and-".join(names)),
        "license_link": RESTRICTED_USE[restricting[0]],
    }


def _source_license(licenses: Sequence[str]) -> dict[str, str]:
    if len(licenses) != 1:
        return {"license": "other", "license_name": "mixed" if licenses else "unknown"}
    identifier = spdx_identifier(licenses[0])
    if identifier:
        return {"license": _HUB_NAMES.get(identifier, identifier.lower())}
    return {"license": "other", "license_name": _slug(licenses[0]) or "unknown"}


def _slug(text: str) -> str:
    """Lower-case words joined by dashes, as ``license_name`` requires."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())[:_MAX_LENGTH].strip("-.")
