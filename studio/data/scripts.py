"""Which script a text is written in: told from its letters, without guessing the language."""

import re
from bisect import bisect_right
from collections import Counter
from functools import lru_cache
from itertools import islice

# First and last code point of the blocks of each script. Source: Unicode 15 Blocks.txt.
_BLOCKS: dict[str, tuple[tuple[int, int], ...]] = {
    "Latin": (
        (0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6),
        (0xF8, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A),
    ),
    "Greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "Cyrillic": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "Armenian": ((0x530, 0x58F),),
    "Hebrew": ((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
    "Arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)),
    "Devanagari": ((0x900, 0x97F),),
    "Bengali": ((0x980, 0x9FF),),
    "Gurmukhi": ((0xA00, 0xA7F),),
    "Gujarati": ((0xA80, 0xAFF),),
    "Odia": ((0xB00, 0xB7F),),
    "Tamil": ((0xB80, 0xBFF),),
    "Telugu": ((0xC00, 0xC7F),),
    "Kannada": ((0xC80, 0xCFF),),
    "Malayalam": ((0xD00, 0xD7F),),
    "Sinhala": ((0xD80, 0xDFF),),
    "Thai": ((0xE00, 0xE7F),),
    "Lao": ((0xE80, 0xEFF),),
    "Tibetan": ((0xF00, 0xFFF),),
    "Burmese": ((0x1000, 0x109F),),
    "Georgian": ((0x10A0, 0x10FF), (0x1C90, 0x1CBF)),
    "Korean": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF)),
    "Ethiopic": ((0x1200, 0x139F),),
    "Khmer": ((0x1780, 0x17FF),),
    "Mongolian": ((0x1800, 0x18AF),),
    "Kana": ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)),
    "Chinese": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
}  # fmt: skip
_SORTED = sorted((first, last, name) for name, blocks in _BLOCKS.items() for first, last in blocks)
_FIRSTS = [first for first, _, _ in _SORTED]

# A sign of these says about as much as so many letters.
_WEIGHTS = {"Chinese": 3, "Kana": 2, "Korean": 2}
_LOOKED_AT = 2000
# With this share of kana among Chinese signs a text is Japanese.
_KANA_SHARE = 0.05

# Scripts that write no blanks between words.
UNPARTED = frozenset({"Chinese", "Japanese", "Thai", "Lao", "Khmer", "Burmese", "Tibetan"})
# Their characters, for a regular expression's class.
NO_BLANKS = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff" + (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)


_LETTER = re.compile("[A-Za-z]")


def _has_letters(text: str, n: int) -> bool:
    return sum(1 for _ in islice(_LETTER.finditer(text), max(n, 1))) >= max(n, 1)


@lru_cache(maxsize=20_000)
def script_of(character: str) -> str:
    """The script of one character, "" for signs that all scripts share."""
    if not character.isalpha():
        return ""
    code = ord(character)
    place = bisect_right(_FIRSTS, code) - 1
    if place < 0:
        return ""
    _, last, name = _SORTED[place]
    return name if code <= last else ""


def main_script(text: str, at_least: int = 1) -> str:
    """The script of most letters in the text's beginning, "" with fewer than `at_least` letters.

    Chinese signs mixed with kana are "Japanese".
    """
    start = text[:_LOOKED_AT]
    if start.isascii():
        return "Latin" if _has_letters(start, at_least) else ""
    counts: Counter[str] = Counter()
    for character, n in Counter(start).items():
        if script := script_of(character):
            counts[script] += n * _WEIGHTS.get(script, 1)
    if sum(counts.values()) < at_least or not counts:
        return ""
    kana, signs = counts.pop("Kana", 0), counts["Chinese"]
    if kana and kana >= _KANA_SHARE * (kana + signs):
        counts["Japanese"], counts["Chinese"] = kana + signs, 0
    return max(counts, key=lambda name: counts[name]) if counts else ""
