"""Which answers count, and how much: weights, judged answers, marks of several pieces; and many
samples at once give what one by one gives."""

from dataclasses import replace
from pathlib import Path

import pytest

from studio.data.messages import Conversation, Judged, Message, PlainText, Preference, Sample
from studio.data.recipe import DatasetRecipe
from studio.errors import TemplateError
from studio.text.examples import IGNORE_INDEX, Encoder, Example, PreferenceExample, encoder_for
from tests.unit.text_folders import UNMARKED_CHATML, byte_level

# Every word of an answer in a mark of its own.
IN_PIECES = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.role == 'assistant' %}{% for word in m.content.split(' ') %}"
    "{% generation %}{{ word }}{% endgeneration %}{{ '_' }}{% endfor %}"
    "{% generation %}{{ '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Marks the last answer alone.
ONLY_LAST = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if m.role == 'assistant' and loop.last %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
)
QUESTION = Message("user", "Q")


def talk(*weights: float, answers: tuple[str, ...] = ("yes", "no", "so")) -> Conversation:
    pairs = [
        (QUESTION, Message("assistant", a, weight=w))
        for a, w in zip(answers, weights, strict=False)
    ]
    return Conversation(tuple(message for pair in pairs for message in pair))


def encoder(tmp_path: Path, template: str = "", max_length: int = 512, **recipe) -> Encoder:
    folder = byte_level(tmp_path / "m", **({"chat_template": template} if template else {}))
    return encoder_for(folder, DatasetRecipe(**recipe), max_length)


def stretches(encoder: Encoder, example: Example) -> list[tuple[str, float]]:
    """The text of each unbroken stretch of trained tokens of one weight, with that weight."""
    found: list[tuple[list[int], float]] = []
    before = 0.0
    weights = example.weights or [float(label != IGNORE_INDEX) for label in example.labels]
    assert len(weights) == len(example.labels) == len(example.input_ids)
    for token_id, label, weight in zip(example.input_ids, example.labels, weights, strict=True):
        assert (label == IGNORE_INDEX) == (weight == 0)
        assert label in (IGNORE_INDEX, token_id)
        if weight and weight != before:
            found.append(([], weight))
        if weight:
            found[-1][0].append(token_id)
        before = weight
    return [(encoder.tokenizer.decode(ids), weight) for ids, weight in found]


@pytest.mark.parametrize("template", ["", UNMARKED_CHATML], ids=["marks", "prefixes"])
@pytest.mark.parametrize(
    ("train_on", "weights", "expected"),
    [
        ("all_answers", (1, 1, 1),
         [("yes<|im_end|>", 1), ("no<|im_end|>", 1), ("so<|im_end|>", 1)]),
        ("all_answers", (0, 1, 1), [("no<|im_end|>", 1), ("so<|im_end|>", 1)]),
        ("all_answers", (1, 0.25, 0), [("yes<|im_end|>", 1), ("no<|im_end|>", 0.25)]),
        ("all_answers", (0, 0, 0), []),
        ("last_answer", (1, 1, 1), [("so<|im_end|>", 1)]),
        ("last_answer", (1, 1, 0.5), [("so<|im_end|>", 0.5)]),
        ("last_answer", (1, 1, 0), []),
    ],
)  # fmt: skip
def test_weights_go_with_what_is_trained_on(
    tmp_path: Path, template: str, train_on: str, weights, expected
):
    made = encoder(tmp_path, template, train_on=train_on)
    example = made.encode_one(talk(*weights))
    assert stretches(made, example) == expected


@pytest.mark.parametrize("template", ["", UNMARKED_CHATML], ids=["marks", "prefixes"])
def test_everything_is_trained_but_for_answers_that_weigh_less(tmp_path: Path, template: str):
    made = encoder(tmp_path, template, train_on="everything")

    found = stretches(made, made.encode_one(talk(1, 0.5, 0)))

    assert [weight for _, weight in found] == [1, 0.5, 1, 1]
    assert found[1][0] == "no<|im_end|>"
    assert found[0][0].endswith("<|im_start|>assistant\n")
    assert found[2][0].endswith("<|im_start|>assistant\n")
    assert found[3][0] == "\n"


def test_weights_of_one_are_no_weights_at_all(tmp_path: Path):
    made = encoder(tmp_path)
    assert made.encode_one(talk(1, 1)).weights is None
    assert made.encode_one(talk(1, 1)) == made.encode_one(talk(1.0, 1.0))


def test_weights_are_cut_with_the_labels(tmp_path: Path):
    whole = encoder(tmp_path).encode_one(talk(1, 0.5))
    cut = encoder(tmp_path, max_length=30).encode_one(talk(1, 0.5))
    assert whole.weights is not None
    assert cut.weights == whole.weights[:30]


@pytest.mark.parametrize("good", [True, False])
def test_of_a_judged_talk_the_judged_answer_alone_is_trained_on(tmp_path: Path, good: bool):
    sample = Judged(
        (QUESTION, Message("assistant", "yes"), QUESTION), (Message("assistant", "no"),), good
    )
    for train_on in ("all_answers", "last_answer"):
        made = encoder(tmp_path, train_on=train_on)
        assert stretches(made, made.encode_one(sample)) == [("no<|im_end|>", 1)]
    made = encoder(tmp_path, train_on="everything")
    assert made.encode_one(sample).weights is None
    assert made.encode_one(sample).labels == made.encode_one(sample).input_ids


def test_an_answer_in_several_marks_keeps_its_weight_and_is_the_last_one_as_a_whole(
    tmp_path: Path,
):
    sample = talk(1, 0.5, answers=("a b", "c d"))
    made = encoder(tmp_path, IN_PIECES)
    assert stretches(made, made.encode_one(sample)) == [
        *(("a", 1), ("b", 1), ("<|im_end|>", 1)),
        *(("c", 0.5), ("d", 0.5), ("<|im_end|>", 0.5)),
    ]
    made = encoder(tmp_path, IN_PIECES, train_on="last_answer")
    assert [text for text, _ in stretches(made, made.encode_one(sample))] == [
        "c",
        "d",
        "<|im_end|>",
    ]


def test_an_empty_last_answer_does_not_pass_the_turn_to_the_one_before(tmp_path: Path):
    marks_text_only = (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}"
        "{{ '<|im_start|>' }}{% endfor %}"
    )
    made = encoder(tmp_path, marks_text_only, train_on="last_answer")
    assert stretches(made, made.encode_one(talk(1, 1, answers=("yes", "")))) == []


def test_marks_that_move_when_turns_follow_are_refused_where_it_matters(tmp_path: Path):
    made = encoder(tmp_path, ONLY_LAST)
    assert stretches(made, made.encode_one(talk(1, 1))) == [("no<|im_end|>", 1)]
    last = encoder(tmp_path, ONLY_LAST, train_on="last_answer")
    assert stretches(last, last.encode_one(talk(1, 0.5))) == [("no<|im_end|>", 0.5)]
    with pytest.raises(TemplateError) as caught:
        made.encode_one(talk(1, 0.5, 1))
    assert caught.value.code == "template_marks"


MANY: list[Sample] = [
    talk(1),
    talk(1, 0.5, 0),
    PlainText("hell"),
    Preference((QUESTION,), (Message("assistant", "yes"),), (Message("assistant", "no"),)),
    Judged((QUESTION,), (Message("assistant", "é 日本"),), False),
    Conversation((QUESTION, Message("assistant", "\nA"))),
    Conversation((QUESTION,)),
    talk(1, 1, 1, answers=("a", "", "b c")),
]


@pytest.mark.parametrize(
    "template", ["", UNMARKED_CHATML, IN_PIECES, ONLY_LAST, "{{ nothing.at }}"]
)
@pytest.mark.parametrize("train_on", ["all_answers", "last_answer", "everything"])
@pytest.mark.parametrize("n", [1, 700])
def test_many_samples_give_what_one_by_one_gives(
    tmp_path: Path, template: str, train_on: str, n: int
):
    made = encoder(tmp_path, template, max_length=40, train_on=train_on)
    samples = [MANY[i % len(MANY)] for i in range(n if n > 1 else len(MANY))]
    expected: list[Example | PreferenceExample | str] = []
    for sample in MANY:
        try:
            expected.append(made.encode(sample))
        except TemplateError as error:
            expected.append(str(error))

    found = list(made.encode_many(iter(samples)))

    shown = [str(one) if isinstance(one, TemplateError) else one for one in found]
    assert shown == [expected[i % len(MANY)] for i in range(len(samples))]


def test_samples_are_taken_as_they_are_needed(tmp_path: Path):
    made, taken = encoder(tmp_path), []

    def endless():
        while True:
            taken.append(1)
            yield talk(1)

    found = made.encode_many(endless())
    assert [next(found) for _ in range(3)] == [made.encode(talk(1))] * 3
    found.close()
    assert len(taken) <= 1024


def test_an_error_while_samples_are_read_comes_through(tmp_path: Path):
    def broken():
        yield talk(1)
        raise TemplateError("stop", "go", "code")

    with pytest.raises(TemplateError, match="stop"):
        list(encoder(tmp_path).encode_many(broken()))


def test_the_message_of_a_preference_may_carry_tools(tmp_path: Path):
    source = "{{ tools[0].name if tools }}" + UNMARKED_CHATML
    made = encoder(tmp_path, source)
    pair = Preference((QUESTION,), (Message("assistant", "a"),), (Message("assistant", "b"),))
    with_tools = replace(pair, tools=({"name": "f"},))
    assert made.render(with_tools).startswith("f<|im_start|>")
    assert made.encode_preference(with_tools).prompt_ids == made.prompt_ids(
        (QUESTION,), ({"name": "f"},)
    )
