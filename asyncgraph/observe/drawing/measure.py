"""How wide text is, without the font: rather too wide than too narrow, whichever sans-serif font there is."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["SIZE", "SMALL", "is_known", "readable", "shortened", "width_of"]

SIZE = 13.0
"""Of the text in shapes, in pixels."""

SMALL = 11.0
"""Of the text beside edges and in legends."""

# Of the characters from the space to the tilde, in DejaVu Sans, which is the widest of the usual fonts: in
# thousandths of the font's size.
_WIDTHS = (
    *(318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337),  # space to slash
    *(636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 584),  # 0 to question mark
    *(1015, 684, 686, 722, 770, 667, 611, 778, 752, 295, 500, 667, 557, 863, 748, 787),  # @ to O
    *(667, 787, 722, 667, 611, 732, 684, 989, 685, 667, 685, 390, 337, 390, 838, 556),  # P to underscore
    *(500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612),  # backtick to o
    *(635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838),  # p to tilde
)
_KNOWN = "\u00a0\u00d7\u2026"  # those that labels are made with
_OTHER = 1050
_WIDE = 1100
_MARGIN = 1.03
_FREE = frozenset({"Mn", "Me", "Cf"})
"""Categories of characters that take no room of their own."""

_UNSHOWN = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})
"""Those that XML has no place for, or that break lines: controls, halves of surrogates, the unassigned."""


def width_of(text: str, size: float = SIZE) -> float:
    """How wide the text may be, in pixels."""
    return sum(map(_width, text)) * size * _MARGIN / 1000


def is_known(text: str) -> bool:
    """Whether the widths are known, so that the text need not be squeezed where a font has wider ones."""
    return all(" " <= each <= "~" or each in _KNOWN for each in text)


def readable(text: str) -> str:
    """The text on one line, without what cannot be shown."""
    if text.isascii() and text.isprintable():
        return text
    joined = " ".join(text.split())
    return "".join(["\ufffd" if unicodedata.category(each) in _UNSHOWN else each for each in joined])


def shortened(text: str, width: float, size: float = SIZE) -> str:
    """The text, cut in its middle if it is wider than so many pixels: its end may be what tells it apart."""
    if width_of(text, size) <= width:
        return text
    head, tail = "", ""
    for first, last in zip(text, reversed(text), strict=True):
        if width_of(f"{head}{first}…{tail}", size) > width:
            break
        head += first
        if width_of(f"{head}…{last}{tail}", size) > width:
            break
        tail = last + tail
    return f"{head}…{tail}"


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if " " <= character <= "~":
        return _WIDTHS[ord(character) - 32]
    if unicodedata.category(character) in _FREE:
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return _WIDE
    base = unicodedata.normalize("NFD", character)[0]
    return _WIDTHS[ord(base) - 32] if " " <= base <= "~" else _OTHER
