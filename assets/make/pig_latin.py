"""Pig Latin: the exact checker of the sample task.

Rules. The consonants before the first vowel move to the word's end, then "ay" follows; a word that
begins with a vowel gets "way". y is a consonant as first letter and a vowel after it; "qu" moves as
a whole. Apostrophes stay where they are among their letters, all other characters stay in place,
and letters become small.
"""

import re

_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)*")
_ONSET = re.compile(r"(?:[^aeiouy]*qu|y?[^aeiouy]*)")


def pig_latin_word(word: str) -> str:
    """One word of small letters, apostrophes allowed: string → ingstray, eat → eatway."""
    onset = _ONSET.match(word)
    assert onset is not None
    head, rest = word[: onset.end()], word[onset.end() :]
    return f"{rest}{head}ay" if head else f"{word}way"


def pig_latin(text: str) -> str:
    """A text, word by word; whatever is not a word stays as it is."""
    return _WORD.sub(lambda match: pig_latin_word(match.group()), text.lower())
