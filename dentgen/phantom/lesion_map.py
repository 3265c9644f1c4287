"""Values of the ``lesion`` map: decay, damage and restorations of teeth."""

from __future__ import annotations

from typing import Final

WHITE_SPOT, CARIES, CAVITY, FRACTURE, CALCULUS = 1, 2, 3, 4, 5
AMALGAM, COMPOSITE, CERAMIC_CROWN, GOLD_CROWN, VENEER, CERAMIC_INLAY, GOLD_INLAY = 6, 7, 8, 9, 10, 11, 12
LESIONS: Final[dict[int, str]] = {
    0: "none",
    WHITE_SPOT: "white spot",
    CARIES: "caries",
    CAVITY: "cavity",
    FRACTURE: "fracture",
    CALCULUS: "calculus",
    AMALGAM: "amalgam filling",
    COMPOSITE: "tooth-coloured filling",
    CERAMIC_CROWN: "ceramic crown",
    GOLD_CROWN: "gold crown",
    VENEER: "veneer",
    CERAMIC_INLAY: "ceramic inlay",
    GOLD_INLAY: "gold inlay",
}
