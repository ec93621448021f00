"""What a model proposes is kept apart, marked, and added row by row."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.data.dataset import Dataset, open_dataset
from studio.data.messages import Conversation
from studio.data.proposals import (
    Proposal,
    ProposalWriter,
    approved,
    decide,
    mark_of,
    read_decisions,
    read_proposals,
    similarity,
)
from studio.data.recipe import DatasetRecipe, Edit
from studio.errors import DataError


def proposal(**values: Any) -> Proposal:
    return Proposal(
        **{
            "number": 1,
            "row": 2,
            "kind": "paraphrase",
            "prompt": "Say q1 otherwise.",
            "text": "another q1",
            "model": "starter",
            **values,
        }
    )


def opened(folder: Path, **columns: str) -> Dataset:
    rows = [{"question": f"q{i}", "answer": f"a{i}", **columns} for i in range(3)]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return open_dataset(DatasetRecipe(files=(str(path),)), folder / "cache")


def again(dataset: Dataset, recipe: DatasetRecipe, folder: Path) -> Dataset:
    return open_dataset(recipe, folder / "cache")


def test_an_approved_paraphrase_is_a_row_made_from_its_source(tmp_path: Path):
    dataset = opened(tmp_path)
    recipe = approved(dataset, [proposal()])
    assert recipe.edits == (
        Edit(
            kind="add",
            rows=(2,),
            value={"question": "another q1", "answer": "a1", "source": "synthetic"},
            label="synthetic: paraphrase of row 2 by starter",
        ),
    )
    sample = again(dataset, recipe, tmp_path).sample(3)
    assert isinstance(sample, Conversation)
    assert [message.content for message in sample.messages] == ["another q1", "a1"]


def test_an_approved_answer_keeps_the_question(tmp_path: Path):
    recipe = approved(opened(tmp_path), [proposal(kind="answer", text="better")])
    assert recipe.edits[0].value == {"question": "q1", "answer": "better", "source": "synthetic"}
    assert recipe.edits[0].label == "synthetic: answer of row 2 by starter"


def test_a_column_named_source_keeps_its_own_value(tmp_path: Path):
    recipe = approved(opened(tmp_path, source="forum"), [proposal()])
    assert recipe.edits[0].value["source"] == "forum"


def test_approving_twice_adds_once(tmp_path: Path):
    dataset = opened(tmp_path)
    once = again(dataset, approved(dataset, [proposal()]), tmp_path)
    assert approved(once, [proposal()]).edits == once.recipe.edits


def test_the_source_row_counts_as_it_is_mended(tmp_path: Path):
    dataset = opened(tmp_path)
    edit = Edit(kind="set", rows=(2,), path="answer", value="mended")
    mended = again(dataset, approved(dataset, []), tmp_path)
    mended = Dataset(
        mended.rows, DatasetRecipe(**{**vars(mended.recipe), "edits": (edit,)}), mended.detection
    )
    assert approved(mended, [proposal()]).edits[1].value["answer"] == "mended"


def test_an_empty_proposal_cannot_be_approved(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        approved(opened(tmp_path), [proposal(text=" \n", number=7)])
    assert (caught.value.code, caught.value.message) == ("proposal_empty", "Proposal 7 is empty.")


def test_a_row_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        approved(opened(tmp_path), [proposal(row=9)])
    assert caught.value.code == "row_not_found"


@pytest.mark.parametrize(
    ("text", "others", "cut", "mark"),
    [
        ("", ["q"], False, "empty"),
        (" \n", ["q"], True, "empty"),
        ("What's THE time", ["what's the time?"], False, "identical"),
        ("How late is it?", ["What is the time?"], False, ""),
        ("How late is it?", ["What is the time?", "how late is it"], True, "identical"),
        ("How late is", ["What is the time?"], True, "cut"),
        (
            "Please tell me how long the bridge over the river is.",
            ["Please tell me how long that bridge over the river is."],
            False,
            "similar",
        ),
        ("!?", ["?!"], False, ""),
    ],
)
def test_what_is_wrong_at_a_glance_is_marked(text: str, others: list[str], cut: bool, mark: str):
    assert mark_of(text, others, cut) == mark


def test_similarity_is_the_share_of_common_trigrams():
    # abcd: abc bcd; bcde: bcd cde
    assert similarity("abcd", "bcde") == pytest.approx(1 / 3)
    assert similarity("ab", "ab") == 1.0
    assert similarity("", "ab") == 0.0


def test_proposals_are_numbered_and_read_back(tmp_path: Path):
    writer = ProposalWriter(tmp_path)
    writer.write(proposal(number=0, text="één\u2028 line"))
    writer.write(proposal(number=0, mark="cut"))
    writer.close()
    assert read_proposals(tmp_path) == [
        proposal(number=1, text="één\u2028 line"),
        proposal(number=2, mark="cut"),
    ]


def test_a_killed_workers_half_line_is_cut_and_the_next_goes_on(tmp_path: Path):
    writer = ProposalWriter(tmp_path)
    writer.write(proposal(number=0))
    writer.close()
    with (tmp_path / "proposals.jsonl").open("a") as file:
        file.write('{"number": 2, "row"')
    assert len(read_proposals(tmp_path)) == 1
    writer = ProposalWriter(tmp_path)
    writer.write(proposal(number=0, text="second"))
    writer.close()
    assert [one.text for one in read_proposals(tmp_path)] == ["another q1", "second"]


def test_decisions_are_remembered_and_the_last_word_counts(tmp_path: Path):
    assert read_decisions(tmp_path) == {}
    decide(tmp_path, [1, 2], "rejected")
    decide(tmp_path, [2], "approved")
    assert read_decisions(tmp_path) == {1: "rejected", 2: "approved"}
