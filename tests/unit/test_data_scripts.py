"""The script of a text is that of most of its letters."""

import pytest

from studio.data.scripts import main_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello, world", "Latin"),
        ("Größe und Œuvre", "Latin"),
        ("Привет, мир, and you", "Cyrillic"),
        ("使用 TensorFlow 训练", "Chinese"),
        ("これは日本語です", "Japanese"),
        ("漢字と仮名", "Japanese"),
        ("ひらがな", "Japanese"),
        ("안녕하세요 world", "Korean"),
        ("مرحبا", "Arabic"),
        ("שלום", "Hebrew"),
        ("हिन्दी भाषा", "Devanagari"),
        ("ภาษาไทย", "Thai"),
        ("Ελληνικά", "Greek"),
        ("中文 with some English words here, maybe more", "Latin"),
        ("12 + 34 = 46 !?", ""),
        ("", ""),
    ],
)
def test_a_text_has_the_script_of_most_letters(text: str, script: str):
    assert main_script(text) == script


def test_with_fewer_letters_than_asked_for_there_is_none():
    assert main_script("ok 12", at_least=3) == ""
    assert main_script("φ = 1.618", at_least=2) == ""
    assert main_script("abc", at_least=3) == "Latin"
