"""Near duplicates: MinHash finds them, the exact Jaccard index decides, forms are no content."""

import random

import numpy as np
import pytest

from studio.data.near_duplicates import (
    N_WORDS,
    NearDuplicates,
    Shingles,
    common_form,
    jaccard,
    runs,
    whole_hash,
    word_hashes,
    words_of,
)

RNG = random.Random(3)
WORDS = [f"word{i}" for i in range(3000)]


def text_of(n_words: int) -> list[str]:
    return RNG.choices(WORDS, k=n_words)


def with_changes(words: list[str], n: int) -> list[str]:
    changed = list(words)
    for place in RNG.sample(range(len(words)), n):
        changed[place] = f"other{RNG.randrange(10**6)}"
    return changed


def found_in(texts: list[str], form: bool = False) -> dict[int, tuple[int, float]]:
    shingles = Shingles.of(texts, common_form(texts) if form else None)
    indexes = np.arange(len(texts), dtype=np.int32)
    found = NearDuplicates(shingles.set_of).find(indexes, shingles.bands())
    return {one.index: (one.first, one.share) for one in found}


def exact_index(one: str, other: str) -> float:
    """The Jaccard index by plain sets, the definition itself."""
    a, b = (
        {tuple(words[i : i + N_WORDS]) for i in range(len(words) - N_WORDS + 1)}
        for words in (one.lower().split(), other.lower().split())
    )
    return len(a & b) / len(a | b)


def test_words_are_lower_case_without_punctuation_and_signs_where_there_are_no_blanks():
    assert words_of("Don't STOP—now! x_1 हिन्दी में") == [
        *("don", "t", "stop", "now", "x_1", "हिन्दी", "में"),
    ]
    assert words_of("漢字kana かな ไทย") == ["漢", "字", "kana", "か", "な", "ไ", "ท", "ย"]


def test_runs_never_cross_from_one_text_into_the_next():
    words, starts = word_hashes(["a b c", "", "d e", "a b c"])
    values, begins = runs(words, starts, 2)
    assert begins.tolist() == [0, 2, 2, 3, 5]
    assert values[:2].tolist() == values[3:].tolist()
    assert len(set(values.tolist())) == 3


def test_the_index_is_that_of_the_sets_of_five_words():
    one = text_of(60)
    other = with_changes(one, 1)
    texts = [" ".join(one), " ".join(other)]
    shingles = Shingles.of(texts)
    share = jaccard(shingles.set_of(0), shingles.set_of(1))
    assert share == pytest.approx(exact_index(*texts), abs=1e-12)


def test_rows_above_the_threshold_are_found_and_those_below_are_not():
    texts = [" ".join(text_of(100)) for _ in range(300)]
    for i in range(100):
        texts.append(" ".join(with_changes(texts[i].split(), 1 + i % 4)))

    found = found_in(texts)

    expected = {}
    for i in range(100):
        share = exact_index(texts[i], texts[300 + i])
        if share >= 0.8:
            expected[300 + i] = (i, share)
    assert 40 < len(expected) < 100
    assert {k: v[0] for k, v in found.items()} == {k: v[0] for k, v in expected.items()}
    assert all(found[k][1] == pytest.approx(v[1]) for k, v in expected.items())


def test_a_group_is_named_after_its_first_row():
    base = text_of(100)
    texts = [" ".join(with_changes(base, n)) for n in (0, 1, 1, 1)]
    assert {index: first for index, (first, _) in found_in(texts).items()} == {1: 0, 2: 0, 3: 0}


def test_case_and_punctuation_alone_make_no_other_row():
    texts = [
        "Say it in Pig Latin, please: the quick fox!",
        "say it in pig latin please the quick fox",
    ]
    assert found_in(texts) == {1: (0, 1.0)}


def test_short_texts_with_another_word_are_other_texts():
    texts = [f"Say in Pig Latin: the {word} fox jumps" for word in ("quick", "red", "lazy")]
    assert found_in(texts) == {}


def test_chinese_rows_are_compared_by_their_signs():
    base = "".join(chr(0x4E00 + RNG.randrange(3000)) for _ in range(120))
    texts = [base, base[:60] + "改" + base[61:], base[:20] + "".join(reversed(base[20:]))]
    assert list(found_in(texts)) == [1]


def test_an_instruction_that_many_rows_share_is_their_form_not_their_content():
    instruction = " ".join(text_of(160))
    texts = [f"{instruction} {' '.join(text_of(14))}" for _ in range(60)]
    texts.append(texts[7])

    # Without it every row would nearly repeat the first: 156 of some 170 shingles are the same.
    assert len(found_in(texts, form=False)) > 50
    assert found_in(texts, form=True) == {60: (7, 1.0)}


def test_a_small_group_of_like_rows_is_no_form():
    base = text_of(100)
    texts = [" ".join(with_changes(base, n)) for n in (0, 1, 1)] + [" ".join(text_of(100))] * 1
    assert set(found_in(texts, form=True)) == {1, 2}


def test_texts_without_words_are_never_alike():
    texts = ["", "…", "!!!", "   "]
    assert found_in(texts) == {}
    assert Shingles.of(texts).bands().any() == np.False_
    assert (whole_hash(" . "), whole_hash("")) == (0, 0)


def test_sums_and_code_that_differ_in_a_sign_are_different_texts():
    texts = ["What is 5 + 3?", "What is 5 - 3?", "a[0] = b", "a(0) = b", "1.5 m", "15 m", "1 5 m"]
    assert found_in([*texts, "what is  5 + 3"]) == {7: (0, 1.0)}


def test_progress_counts_the_rows_compared_and_may_end_it():
    texts = [" ".join(text_of(30))] * 600
    shingles = Shingles.of(texts)
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        NearDuplicates(shingles.set_of).find(
            np.arange(600, dtype=np.int32), shingles.bands(), progress
        )
    assert seen == [(0, 600), (256, 600)]
