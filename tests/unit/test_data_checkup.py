"""The checkup names what is wrong, by row counted from one, and drops nothing in silence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.data.checkup import Checkup, checkup, conclude, look, prepare
from studio.data.dataset import open_dataset
from studio.data.findings import Finding
from studio.data.recipe import DatasetRecipe, Edit
from studio.errors import DataError

Rows = list[dict[str, Any]]


def write_rows(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def checked(tmp_path: Path, rows: Rows, **recipe: Any) -> Checkup:
    files = (write_rows(tmp_path / "a.jsonl", rows),)
    dataset = open_dataset(DatasetRecipe(files=files, **recipe), tmp_path / "cache")
    lookout = prepare(dataset, tmp_path / "cache")

    def watch(phase: str, done: int, total: int) -> None:
        assert 0 <= done <= total

    return conclude(dataset, look(dataset, lookout, None, watch), lookout, [], watch)


def findings(tmp_path: Path, rows: Rows, **recipe: Any) -> list[Finding]:
    return checked(tmp_path, rows, **recipe).findings


def by_row(found: list[Finding]) -> list[tuple[str, int | None]]:
    return [(finding.code, finding.row) for finding in found if finding.row is not None]


def of(found: list[Finding], code: str) -> list[Finding]:
    return [finding for finding in found if finding.code == code]


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{i} {role}"} for i, role in enumerate(roles)]}


def pair(prompt: str, completion: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, **more}


# Two hundred rows without anything to find, of which single ones are then changed.
SOUND = [
    pair(f"How many are {i} and {i + 3}?", f"{i} and {i + 3} are {2 * i + 3}.") for i in range(200)
]


def sound_but(*changed: dict[str, Any]) -> Rows:
    """The sound rows, the first ones replaced."""
    return [*changed, *SOUND[len(changed) :]]


def test_a_sound_dataset_has_no_findings(tmp_path: Path):
    assert findings(tmp_path, SOUND) == []


def test_few_rows_are_advised_against(tmp_path: Path):
    found = findings(tmp_path, SOUND[:199])
    assert [(f.code, f.row) for f in found] == [("few_rows", None)]
    assert "only 199 rows" in found[0].message


def test_empty_answers_and_repeated_rows_are_named_by_row(tmp_path: Path):
    rows = [
        {"id": 1, "prompt": "p", "completion": "c"},
        {"id": 2, "prompt": "q", "completion": ""},
        {"id": 3, "prompt": "p", "completion": "c"},
        {"id": 4, "prompt": "", "completion": "c"},
    ]
    found = findings(tmp_path, rows, validation_share=0.0)
    assert by_row(found) == [("empty_answer", 2), ("empty_turn", 4), ("duplicate_row", 3)]
    assert of(found, "duplicate_row")[0].message == "Row 3 says exactly what row 1 says."


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("system", "user", "assistant", "user", "assistant"), ""),
        (("user", "assistant", "tool", "tool", "assistant"), ""),
        (("system", "assistant"), "an answer, comes before any question"),
        (("user", "user", "assistant"), "turns 1 and 2 are both of the user"),
        (("user", "assistant", "system", "assistant"), "turn 3 is a system prompt"),
        (("user", "tool", "assistant"), "turn 2 is a tool's result"),
    ],
)
def test_roles_out_of_order_are_told(tmp_path: Path, roles: tuple[str, ...], expected: str):
    found = of(findings(tmp_path, [turns(*roles)]), "role_order")
    assert [expected in f.message for f in found] == ([True] if expected else [])


def test_each_kind_lists_a_hundred_rows_and_knows_them_all(tmp_path: Path):
    found = checked(tmp_path, [pair(f"p{i}", "") for i in range(2250)])

    empty = of(found.findings, "empty_answer")
    assert [f.row for f in empty] == [*range(1, 101), None]
    assert empty[-1].message == "2,150 more rows like row 100: 2,250 in all."
    assert found.rows_of("empty_answer") == list(range(2250))


def test_rows_marked_as_bad_answers_are_pointed_out(tmp_path: Path):
    rows = [{**turns("user", "assistant"), "label": label} for label in (True, False, False)]
    found = checked(tmp_path, rows, layout="messages", mapping={"messages": "messages"})
    assert ["false in 2 rows" in f.message for f in of(found.findings, "bad_answers")] == [True]
    assert found.rows_of("bad_answers") == [1, 2]


def test_a_label_that_the_layout_reads_marks_nothing_bad(tmp_path: Path):
    rows = [pair("q", f"a{i}", label=bool(i % 2)) for i in range(4)]
    mapping = {"prompt": "prompt", "completion": "completion", "label": "label"}
    found = findings(tmp_path, rows, layout="kto", mapping=mapping)
    assert of(found, "bad_answers") == []


def test_a_mapping_without_a_required_part_stops_the_checkup(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        findings(tmp_path, [{"question": "q"}])
    assert caught.value.code == "mapping_incomplete"


# code, a row that has it, words of its message.
IN_A_ROW = [
    ("refusal", pair("Do it", "As an AI language model, I cannot do this."), "As an AI lang"),
    ("refusal", pair("Do it", "I'm sorry, but I can't assist with that."), "I'm sorry, but"),
    ("refusal", pair("Do it", "I’m sorry, but I cannot fulfill that request."), "I’m sorry"),
    ("refusal", pair("Mach es", "Als KI-Sprachmodell kann ich das nicht."), "Als KI"),
    ("refusal", pair("Fais-le", "En tant que modèle de langage, je ne peux pas."), "En tant"),
    ("refusal", pair("Hazlo", "Lo siento, pero no puedo ayudar con eso."), "Lo siento"),
    ("refusal", pair("做吧", "作为一个人工智能，我无法这样做。"), "作为"),
    ("refusal", pair("Сделай", "Я языковая модель и не могу этого."), "языковая модель"),
    ("mojibake", pair("Où?", "Au cafÃ©, bien sÃ»r."), "'cafÃ©,' was 'café,'"),
    ("control_characters", pair("q", "an \x08answer\x00 to it"), "2 control characters (U+0008)"),
    ("half_character", pair("q", "cut \ud83d"), "half a character (\\ud83d)"),
    ("invisible_characters", pair("q", "zero\u200bwidth"), "U+200B, zero width space"),
    ("invisible_characters", pair("q", "abc\u202edef"), "U+202E, right-to-left override"),
    ("html", pair("q", "one<br>two"), "remains of HTML: <br>"),
    ("html", pair("q", "Q&nbsp;A"), "remains of HTML: &nbsp;"),
    ("whitespace", pair("q", "an answer\n"), "turn 2 (assistant) begins or ends with blanks"),
    ("placeholder", pair("Who?", "I am {{name}}."), "{{name}}"),
    ("personal_data", pair("Mail?", "ada.l@post.org"), "an e-mail address (a…@post.org) in turn 2"),
    ("personal_data", pair("Call +49 170 1234567", "ok"), "a phone number (+49…67) in turn 1"),
    ("secret", pair("q", "export T=hf_" + "aB1" * 10), "a key or token (hf_a…) in turn 2"),
]


def test_what_is_wrong_in_a_rows_text_is_told_with_its_place(tmp_path: Path):
    rows = [{**row, "prompt": f"{n}. {row['prompt']}"} for n, (_, row, _) in enumerate(IN_A_ROW)]
    found = findings(tmp_path, sound_but(*rows))
    expected = [(code, row) for row, (code, _, _) in enumerate(IN_A_ROW, 1)]
    assert sorted(by_row(found), key=lambda one: one[1] or 0) == expected
    messages = {finding.row: finding.message for finding in found}
    for number, (_, _, words) in enumerate(IN_A_ROW, 1):
        assert messages[number].startswith(f"Row {number}")
        assert words in messages[number]


# Rows that look like one of these and are none.
FINE = [
    pair("Come?", "I'm sorry, but I can't come to your party tonight."),
    pair("Role?", "As an air traffic controller, I guide planes."),
    pair("Book?", "I am sorry to hear that. Here is what helps."),
    pair("Was?", "Als Kind kann man das nicht wissen."),
    pair("Which?", "As a model citizen, I vote."),
    pair("Café?", "Im Café: “Ünïcödé”, 10³ ﬁ … 你好 Привет"),
    pair("Persian?", "نمی‌خواهم — 👨‍👩‍👧"),
    pair("Compare", "if (a < b && c > d) { List<String> x; }"),
    pair("Which HTML tag breaks a line?", "<br> does; &nbsp; keeps a blank."),
    pair("Show it", "```html\n<p>one</p>\n```"),
    pair("Mark it", "<think>Let me see.</think><answer>4</answer>"),
    pair("Write a Jinja template", "Hello {{name}}, welcome!"),
    pair("TeX", r"\frac{{ab}}{{cd}} and \mathbf{{xy}}"),
    pair("Numbers", "1234567890, 2024-01-31, 192.168.0.1, v1.2.3.4, 3.14159265358979"),
]


def test_what_only_looks_wrong_is_not_found(tmp_path: Path):
    assert findings(tmp_path, sound_but(*FINE)) == []


def test_personal_data_never_stands_whole_in_a_message(tmp_path: Path):
    secrets = ("ada.lovelace@post.org", "4111 1111 1111 1111", "hf_" + "aB1" * 10)
    found = findings(tmp_path, [pair("q", " and ".join(secrets))])
    said = json.dumps([f.message for f in found])
    assert {f.code for f in found} == {"few_rows", "personal_data", "secret"}
    assert [secret for secret in secrets if secret in said] == []


LONG = (
    "The old mill stands by the river where the road turns north, and every autumn the children of "
    "the village walk there to gather chestnuts, to feed the miller's grey goats, and to hear the "
    "story of the winter when the wheel froze and the whole valley went without bread for a month."
)


def test_near_duplicates_name_the_first_row_and_the_share(tmp_path: Path):
    rows = sound_but(pair("Tell", LONG), pair("Tell", LONG.replace("grey goats", "white goats")))
    found = findings(tmp_path, rows, validation_share=0.0)
    assert by_row(found) == [("near_duplicate", 2), ("different_answers", 2)]
    # 5 of 51 runs of five words differ: 46 / (51 + 51 - 46).
    assert found[0].message == "Row 2 says nearly what row 1 says: 82% is the same."


def test_a_row_in_other_case_and_punctuation_is_a_near_duplicate(tmp_path: Path):
    rows = sound_but(pair("Say hello", "Hello, you!"), pair("say hello", "hello you"))
    found = findings(tmp_path, rows, validation_share=0.0)
    assert by_row(found) == [("near_duplicate", 2), ("different_answers", 2)]
    assert "row 1 says: only case, punctuation or blanks differ." in found[0].message


def test_rows_that_share_their_system_prompt_alone_are_not_alike(tmp_path: Path):
    rows = [{**row, "system": LONG} for row in SOUND]
    assert findings(tmp_path, rows) == []


def test_a_row_in_training_and_in_validation_is_a_leak(tmp_path: Path):
    rows = [{**row, "part": "b" if i == 7 else "a"} for i, row in enumerate(SOUND)]
    rows += [{**SOUND[7], "part": "a"}, {**SOUND[3], "part": "a"}, {**SOUND[7], "part": "b"}]
    found = checked(tmp_path, rows, split_by="group", split_column="part", validation_share=0.005)
    # The group "b" is the validation part: rows 8 and 203. Row 202 repeats within training.
    leaks = [f.message for f in of(found.findings, "split_leak")]
    assert leaks == [
        "Row 201 (in training) says the same as row 8 (in validation).",
        "Row 203 (in validation, repeated in another part) says the same as row 8 (in validation).",
    ]
    assert found.rows_of("duplicate_row") == [200, 201, 202]


def test_a_split_that_is_not_possible_is_a_finding(tmp_path: Path):
    found = findings(tmp_path, SOUND, split_by="group", split_column="")
    assert [(f.code, f.row) for f in found] == [("no_split", None)]


def test_the_same_question_with_another_answer_is_told(tmp_path: Path):
    rows = sound_but(
        pair("What is the capital of France?", "Paris."),
        pair("what is the  capital of France?", "Lyon."),
        pair("What is the capital of France?", "paris."),
        pair("What is the capital of Italy?", "Rome."),
    )
    found = of(findings(tmp_path, rows), "different_answers")
    assert [f.row for f in found] == [2]
    assert "another answer than row 1 to the same question" in found[0].message


def test_a_question_asked_again_on_purpose_is_not_told(tmp_path: Path):
    rows = sound_but(*(pair("Tell me a joke.", f"A horse enters bar {i}.") for i in range(6)))
    assert of(findings(tmp_path, rows), "different_answers") == []


def test_the_same_words_under_another_system_prompt_are_another_question(tmp_path: Path):
    rows = sound_but(
        pair("Translate: Haus", "house", system="Into English"),
        pair("Translate: Haus", "maison", system="Into French"),
    )
    assert of(findings(tmp_path, rows), "different_answers") == []


def test_an_opening_that_many_answers_share_is_told_once_with_its_rows(tmp_path: Path):
    same = [pair(f"q {i}", f"Sure, here is number {i} of all those lists.") for i in range(40)]
    found = checked(tmp_path, [*SOUND[:160], *same])
    (one,) = of(found.findings, "repeated_opening")
    assert one.row is None
    assert "40 of 40 answers (100%) begin with “Sure, here is …”" in one.message
    assert found.rows_of("repeated_opening") == list(range(160, 200))


def test_an_opening_of_a_few_answers_is_not_told(tmp_path: Path):
    same = [pair(f"q {i}", f"Sure, here is number {i} of all those lists.") for i in range(19)]
    assert of(findings(tmp_path, [*SOUND[:181], *same]), "repeated_opening") == []


def test_an_answer_in_another_script_is_told_unless_it_was_asked_for(tmp_path: Path):
    russian = "Столица этой страны находится на берегу большой реки."
    rows = sound_but(
        pair("What is the capital of that large country?", russian),
        pair("Translate into Russian: the capital lies by a river.", russian),
        pair("Какой город находится на берегу этой большой реки?", russian),
        pair("What is the sign of the golden ratio, please?", "φ"),
    )
    found = of(findings(tmp_path, rows), "other_script")
    assert [f.row for f in found] == [1]
    assert "asked in Latin and answered in Cyrillic script; most answers are in Latin" in (
        found[0].message
    )


def test_a_dataset_of_translations_has_no_answer_in_another_script(tmp_path: Path):
    rows = [pair(f"House {i} by the wide river", f"Дом {i} стоит у реки") for i in range(200)]
    assert of(findings(tmp_path, rows), "other_script") == []


def test_rows_far_from_the_usual_length_are_told(tmp_path: Path):
    rows = sound_but(pair("q", "word " * 400 + "end"))
    found = of(findings(tmp_path, rows), "unusual_length")
    assert [f.row for f in found] == [1]
    assert "2,004 characters, far longer than the usual" in found[0].message


def test_lengths_that_vary_by_nature_are_not_told(tmp_path: Path):
    rows = [pair("q", " ".join(f"w{i}x{j}" for j in range(2 ** (i % 9)))) for i in range(200)]
    assert of(findings(tmp_path, rows), "unusual_length") == []


def test_rare_classes_are_told_with_their_rows(tmp_path: Path):
    rows = [pair(f"text {i}", "good" if i % 20 else "bad") for i in range(200)]
    found = checked(tmp_path, rows)
    (one,) = of(found.findings, "class_imbalance")
    assert one.message == "'good' is the answer or label of 190 rows; rare are 'bad' (10)."
    assert found.rows_of("class_imbalance") == list(range(0, 200, 20))
    assert found.profile.values("label") == [("good", 190), ("bad", 10)]


def test_a_label_column_counts_before_the_answers(tmp_path: Path):
    rows = [pair(f"t {i}", f"answer {i}", category="a" if i % 30 else "b") for i in range(210)]
    found = checked(tmp_path, rows)
    assert found.profile.values("label") == [("a", 203), ("b", 7)]
    assert len(of(found.findings, "class_imbalance")) == 1


def test_even_classes_and_free_answers_are_no_imbalance(tmp_path: Path):
    even = [pair(f"text {i}", ("good", "bad", "mixed")[i % 3]) for i in range(210)]
    assert of(findings(tmp_path, even), "class_imbalance") == []
    replies = [pair(f"hi {i}", "You too!" if i % 20 else f"Bye {i}!") for i in range(210)]
    assert of(findings(tmp_path, replies), "class_imbalance") == []


def test_the_profile_has_a_line_for_every_kept_row(tmp_path: Path):
    rows = [
        {"messages": [{"role": "system", "content": "s"}, *turns("user", "assistant")["messages"]]},
        {"messages": [{"role": "narrator", "content": "x"}]},
        {"messages": [{"role": "user", "content": "Кто?"}, {"role": "assistant", "content": "Я."}]},
    ]
    profile = checked(tmp_path, rows).profile
    assert profile.index.tolist() == [0, 1, 2]
    assert profile.n_turns.tolist() == [3, -1, 2]
    assert profile.n_characters.tolist() == [1 + 6 + 11, -1, 6]
    assert [profile.roles[i] for i in range(3)] == ["system user assistant", "", "user assistant"]
    assert [profile.script[i] for i in range(3)] == ["Latin", "", "Cyrillic"]
    assert [profile.source[i] for i in range(3)] == ["a.jsonl"] * 3
    assert profile.findings_of(1) == ["unknown_role"]
    assert profile.findings_of(2) == []


def test_dropped_rows_are_not_looked_at_and_others_keep_their_numbers(tmp_path: Path):
    files = (write_rows(tmp_path / "a.jsonl", [SOUND[0], pair("q", ""), pair("q", ""), SOUND[1]]),)
    recipe = DatasetRecipe(files=files)
    dataset = open_dataset(recipe, tmp_path / "cache")
    dropped = replace(dataset.recipe, edits=(Edit(kind="drop", rows=(2,)),))
    dataset = open_dataset(dropped, tmp_path / "cache")
    assert by_row(checkup(dataset)) == [("empty_answer", 3)]


def test_progress_is_told_and_ends_at_the_number_of_rows(tmp_path: Path):
    files = (write_rows(tmp_path / "a.jsonl", [pair(f"p {i}", f"c {i}") for i in range(2300)]),)
    seen: list[int] = []
    checkup(open_dataset(DatasetRecipe(files=files), tmp_path / "cache"), seen.append)
    assert [n for n in seen if n] == [1000, 2000, 2300]
