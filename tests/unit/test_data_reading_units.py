"""Running text becomes the rows a person asks for, and no word is lost."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.data.reading import TextUnits, read_rows
from studio.data.reading_units import cut_text
from studio.data.rows import open_rows


def cut(text: str, unit: str, size: int = 2000, notes: list[str] | None = None) -> list[str]:
    lines = text.splitlines(keepends=True)
    return list(
        cut_text(lambda: iter(lines), Path("a.md"), unit, size, [] if notes is None else notes)
    )


MARKDOWN = """---
title: no heading here
---
Before any heading.

# Book

## One
First.

```sh
# a comment, no heading

Title?
======
```
Still one.

Two
---

- item
---
after a rule
### Three ###
####### seven signs are no heading
#none either

# Alone at the end
"""


def test_sections_are_headings_with_their_text():
    assert cut(MARKDOWN, "section") == [
        "---\ntitle: no heading here\n---\nBefore any heading.",
        "# Book\n\n## One\nFirst.\n\n```sh\n# a comment, no heading\n\nTitle?\n======\n```\n"
        "Still one.",
        "Two\n---\n\n- item\n---\nafter a rule",
        "### Three ###\n####### seven signs are no heading\n#none either",
        "# Alone at the end",
    ]


def test_a_text_without_headings_is_one_section():
    assert cut("a\r\n\r\nb\r\n", "section") == ["a\n\nb"]


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        ("auto", ["one\n two", "three"]),
        ("paragraph", ["one\n two", "three"]),
        ("line", ["one", " two", "three"]),
        ("document", ["one\n two\n \n\nthree"]),
        ("section", ["one\n two\n \n\nthree"]),
        ("chunk", ["one\n two\n\nthree"]),
    ],
)
def test_each_unit_cuts_in_its_own_way(unit: str, texts: list[str]):
    assert cut("\n\none\n two\n \n\nthree\n\n", unit) == texts


def test_a_text_without_blank_lines_is_lines_and_says_so():
    notes: list[str] = []
    assert cut("a\nb\n", "auto", notes=notes) == ["a", "b"]
    assert notes == ["a.md has no blank line: every line is a row."]
    assert cut("a\nb\n", "paragraph") == ["a\nb"]
    assert cut("a\nb\nc\n", "chunk", 3) == ["a\nb", "c"]


def test_chunks_are_paragraphs_joined_up_to_the_size():
    assert cut("aaaa\n\nbbbb\n\ncccc\n", "chunk", 10) == ["aaaa\n\nbbbb", "cccc"]
    assert cut("aaaa\n\nbbbb\n\ncccc\n", "chunk", 9) == ["aaaa", "bbbb", "cccc"]


@pytest.mark.parametrize(
    ("text", "size", "chunks"),
    [
        ("One two. Three four! Five?", 22, ["One two. Three four!", "Five?"]),
        ("He said “No.” Then more came", 15, ["He said “No.”", "Then more came"]),
        ("第一句。第二句！第三句", 8, ["第一句。第二句！", "第三句"]),
        ("no end here at all", 10, ["no end", "here at", "all"]),
        ("xxxxxxxxxxyyyyy", 10, ["xxxxxxxxxx", "yyyyy"]),
        ("aaa bbb. ccc", 8, ["aaa bbb.", "ccc"]),
        (
            "short\n\nA long one. And its end.\n\nlast",
            12,
            ["short", "A long one.", "And its end.", "last"],
        ),
    ],
)
def test_a_long_paragraph_is_cut_at_sentences_else_at_blanks(
    text: str, size: int, chunks: list[str]
):
    assert cut(text + "\n\n", "chunk", size) == chunks


@settings(derandomize=True, max_examples=80, deadline=None, database=None)
@given(
    st.text(alphabet="ab .!\n#`-=\t漢。", max_size=120),
    st.sampled_from(["auto", "line", "paragraph", "section", "chunk", "document"]),
    st.integers(5, 40),
)
def test_no_word_is_lost_or_moved_and_no_chunk_too_long(text: str, unit: str, size: int):
    texts = cut(text, unit, size)
    assert re.sub(r"\s", "", "".join(texts)) == re.sub(r"\s", "", text)
    assert all(one.strip() for one in texts)
    assert unit != "chunk" or all(len(one) <= size for one in texts)


def test_the_unit_of_a_recipe_reaches_the_rows_and_only_those_of_text_files(tmp_path: Path):
    text, table = tmp_path / "a.md", tmp_path / "b.csv"
    text.write_text("# One\nx\n\ny\n# Two\nz\n")
    table.write_text("text\nx\n")
    cache = tmp_path / "cache"

    def texts(path: Path, unit: str, size: int = 2000) -> list[str]:
        store = open_rows([path], cache, text_unit=unit, chunk_characters=size)
        return [row["text"] for row in store.iterate()]

    assert texts(text, "section") == ["# One\nx\n\ny", "# Two\nz"]
    assert texts(text, "line") == ["# One", "x", "y", "# Two", "z"]
    assert texts(text, "chunk", 100) == ["# One\nx\n\ny\n# Two\nz"]
    assert texts(text, "chunk", 8) == ["# One\nx", "y\n# Two", "z"]
    assert texts(text, "line", 100) == ["# One", "x", "y", "# Two", "z"]
    assert len(list((cache / "rows").iterdir())) == 4
    assert texts(table, "line") == texts(table, "document") == ["x"]
    assert len(list((cache / "rows").iterdir())) == 5


def test_a_text_file_of_the_reader_takes_the_unit(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("a\n\nb\n")
    assert list(read_rows(path, TextUnits("document"))) == [{"text": "a\n\nb"}]
