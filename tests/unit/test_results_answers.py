"""Answers: the same or not, how near to the row's own, and where the words differ."""

import pytest

from studio.results.answers import Answer, Answers, read_answers, word_changes, word_overlap


def answer(text: str, reference: str | None = None, stopped: bool = True) -> Answer:
    return Answer(question="q", reference=reference, text=text, stopped=stopped)


def test_answers_are_the_same_with_blanks_around_but_not_with_another_end() -> None:
    tuned = Answers(type="tuned", answers=(answer("a b"), answer("a b"), answer("c")))
    found = Answers(
        type="Q8_0", answers=(answer(" a b\n"), answer("a b", None, False), answer("d"))
    )
    assert found.n_same(tuned) == 1


def test_exact_answers_are_counted_among_rows_that_have_one() -> None:
    found = Answers(type="F16", answers=(answer("x", "x "), answer("x y", "x z"), answer("x")))
    assert (found.n_exact, found.n_scored, found.overlap) == (1, 2, 0.75)
    assert Answers(type="F16", answers=(answer("x"),)).overlap == 0.0


@pytest.mark.parametrize(
    ("text", "reference", "score"),
    [
        ("The cat sat", "the cat sat", 1.0),
        ("a b c d", "a b", 2 * 2 / 6),
        ("a a", "a", 2 / 3),
        ("", "", 1.0),
        ("", "a", 0.0),
    ],
)
def test_word_overlap_is_the_f1_of_the_words(text: str, reference: str, score: float) -> None:
    assert word_overlap(text, reference) == pytest.approx(score)


def test_differences_are_told_word_by_word() -> None:
    assert word_changes("the red fox ran", "the blue fox ran home") == [
        ("same", "the "),
        ("left out", "red"),
        ("put in", "blue"),
        ("same", " fox ran"),
        ("put in", " home"),
    ]
    assert word_changes("same", " same ") == [("same", "same")]


def test_an_event_gives_the_same_answers_back() -> None:
    found = Answers(type="Q8_0", answers=(answer("x", "y"),))
    assert read_answers({"event": "answers", "time": 1.0, **found.as_dict()}) == found
