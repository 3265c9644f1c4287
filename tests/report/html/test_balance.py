"""Class balance and tooth sizes, counted on label maps with known pixels."""

from __future__ import annotations

import numpy as np

from dentgen.report.html.balance import BalanceCounter, ClassShare
from dentgen.shards.tar import png_bytes


def maps(seg: np.ndarray, fdi: np.ndarray | None = None, lesion: np.ndarray | None = None) -> dict[str, bytes]:
    named = {"seg": seg, "fdi": fdi, "lesion": lesion}
    return {f"{name}.png": png_bytes(values) for name, values in named.items() if values is not None}


def test_pixels_and_samples_of_every_class() -> None:
    counter, seg = BalanceCounter(), np.zeros((10, 10), np.uint8)
    counter.add("000000.tar", maps(seg))
    seg[:3], seg[9] = 2, 255
    lesion = np.zeros_like(seg)
    lesion[0, :5] = 6
    counter.add("000001.tar", maps(seg, lesion=lesion))
    found = counter.balance()
    assert (found.shards, found.samples, found.pixels) == (2, 2, 200)
    assert found.classes == (
        ClassShare("background", 160, 2), ClassShare("tooth", 30, 1), ClassShare("not annotated", 10, 1)
    )  # fmt: skip
    assert found.findings == (ClassShare("none", 95, 1), ClassShare("amalgam filling", 5, 1))
    assert (found.sizes, found.teeth) == (None, None)


def test_teeth_by_size_and_number() -> None:
    counter, fdi = BalanceCounter(), np.zeros((100, 100), np.uint8)
    seg = np.zeros_like(fdi)
    fdi[0, :5], fdi[10:20, :10], fdi[50:] = 11, 21, 36  # 0.05 %, 1 % and 50 % of the picture
    counter.add("a.tar", maps(seg, fdi))
    counter.add("a.tar", maps(seg, np.zeros_like(fdi)))
    counter.add("a.tar", maps(seg, np.resize(np.arange(11, 29, dtype=np.uint8), (100, 100))))
    found = counter.balance()
    assert found.sizes is not None
    assert {count.label: count.samples for count in found.sizes.counts} == {
        "under 0.1 %": 1, "0.1-0.2 %": 0, "0.2-0.5 %": 0, "0.5-1 %": 0, "1-2 %": 1, "2-5 %": 0, "5-10 %": 18,
        "10 % and more": 1,
    }  # fmt: skip
    assert found.teeth is not None
    shown = {count.label: count.samples for count in found.teeth.counts if count.samples}
    assert shown == {"0": 1, "3": 1, "16 and more": 1}


def test_nothing_measured() -> None:
    found = BalanceCounter().balance()
    assert (found.samples, found.classes, found.findings) == (0, (), ())
