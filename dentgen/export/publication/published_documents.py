"""Card and Croissant metadata as they are published: address, publisher, date, and what the certificate says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Final

from dentgen.shards import layout
from dentgen.shards.certificate import Certificate, SectionName
from dentgen.shards.tar import json_bytes

#: Figures of each section that are quoted, and how they are called; those that a certificate lacks are left out.
_QUOTED: Final[dict[SectionName, dict[str, str]]] = {
    "agreement": {
        "pictures": "pictures that judges looked at", "miou_mean": "mean IoU with the labels",
        "tooth_recall_mean": "teeth that judges find",
    },
    "gate": {"failed_share": "share of the pictures that failed the gate"},
    "rejections": {"planned": "samples planned", "rejected": "of these rejected"},
    "duplicates": {"pairs": "pairs of near-copies"},
    "usefulness": {
        "miou_dataset": "mean IoU of segmenters trained on it", "miou_reference": "trained on the reference",
        "miou_ratio": "ratio of the two",
    },
    "memorisation": {
        "copies": "copies of training pictures",
        "share_near": "share as near to training pictures as 1 % of unseen ones",
    },
    "review": {
        "verdicts": "verdicts of people", "usable": "share that people accept", "agree": "agreement with the gate",
    },
}  # fmt: skip
_NOTHING: Final = "Nothing was certified: `dentgen certify` measures agreement with labels, copies and usefulness."


def published_croissant(content: bytes, url: str, owner: str, day: date, certificate: Certificate | None) -> bytes:
    """Croissant metadata with what is known on publication.

    Args:
        content: ``croissant.json`` of the build.
        url: Address of the dataset's page.
        owner: Organization or user that publishes it.
        day: Date of publication.
        certificate: Certificate of this version; its statements become ``rai:dataAnnotationAnalysis``, which Croissant
            has for the uncertainty of labels.
    """
    document = json.loads(content)
    creator = {"@type": "sc:Organization", "name": owner, "url": url.rpartition("/")[0]}
    quoted = {} if certificate is None else {"rai:dataAnnotationAnalysis": list(statements(certificate))}
    return json_bytes({**document, **quoted, "url": url, "creator": creator, "datePublished": day.isoformat()})


def published_card(content: bytes, certificate: Certificate | None) -> bytes:
    """The dataset card with a section on what was certified; the build's own card stays as it was sealed.

    Args:
        content: ``README.md`` of the build.
        certificate: Certificate of this version.
    """
    lines = [_NOTHING] if certificate is None else [f"- {line}" for line in statements(certificate)]
    source = "" if certificate is None else f"\nFrom `{layout.CERTIFICATE}`, which names the command of every figure.\n"
    return content.rstrip() + b"\n\n## Certificate\n\n" + "\n".join(lines).encode() + f"\n{source}".encode()


def statements(certificate: Certificate) -> Iterator[str]:
    """What a certificate says, a line a section, with the commands that compute it again."""
    for name, figures in _QUOTED.items():
        section = certificate.sections.get(name)
        if section is None:
            continue
        if section.missing:
            yield f"{name}: not measured ({section.missing})"
            continue
        known = [(text, section.figures[figure]) for figure, text in figures.items() if figure in section.figures]
        if known:
            yield f"{name}: {', '.join(f'{text} {_number(value)}' for text, value in known)} (`{section.command}`)"


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.0f}" if value.is_integer() else f"{value:g}"
