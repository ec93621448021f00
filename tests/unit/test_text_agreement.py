"""What chat asks is what training taught, or the place where they part is shown."""

from pathlib import Path

import pytest

from studio.data.messages import Conversation, Judged, Message, PlainText, Preference, Sample
from studio.data.recipe import DatasetRecipe
from studio.text.agreement import Disagreement, disagreement
from studio.text.examples import Encoder, encoder_for
from studio.text.gallery import GALLERY
from tests.unit.text_folders import UNMARKED_CHATML, byte_level

QUESTION, ANSWER = Message("user", "Q"), Message("assistant", "yes")
TALK = Conversation((QUESTION, ANSWER, Message("user", "R"), Message("assistant", "no")))
# Asks with an opening that training text does not have, as reasoning models do.
THINKING = UNMARKED_CHATML.replace(
    "'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\n<think>'"
)
# Marks the line break before the answer as well.
WIDE_MARKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role }}"
    "{% if m.role == 'assistant' %}"
    "{% generation %}{{ '\\n' + m.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ '\\n' + m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
EVERY = [
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "[INST]", "[/INST]"),
]


def encoder(tmp_path: Path, template: str, **recipe) -> Encoder:
    folder = byte_level(tmp_path / "m", specials=tuple(EVERY), chat_template=template)
    return encoder_for(folder, DatasetRecipe(**recipe), 512)


SAMPLES: list[Sample] = [
    TALK,
    Conversation((Message("system", "S"), QUESTION, ANSWER)),
    Judged((QUESTION,), (ANSWER,), True),
    Preference((QUESTION,), (ANSWER,), (Message("assistant", "no"),)),
    PlainText("any"),
]


@pytest.mark.parametrize("name", GALLERY)
@pytest.mark.parametrize("train_on", ["all_answers", "last_answer", "everything"])
def test_every_template_of_the_gallery_asks_as_it_trains(tmp_path: Path, name: str, train_on: str):
    made = encoder(tmp_path, GALLERY[name].source, train_on=train_on)
    assert [disagreement(made, sample) for sample in SAMPLES] == [None] * len(SAMPLES)


def test_an_opening_that_training_never_saw_is_shown_with_its_turn(tmp_path: Path):
    found = disagreement(encoder(tmp_path, THINKING), TALK)
    text = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    rest = "yes<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\nno<|im_end|>\n"
    assert found == Disagreement(2, (text + "<think>")[-67:], text[-60:] + rest[:60])


def test_only_the_answers_that_are_trained_on_must_agree(tmp_path: Path):
    weightless = Conversation((QUESTION, Message("assistant", "yes", weight=0.0), QUESTION, ANSWER))
    found = disagreement(encoder(tmp_path, THINKING), weightless)
    assert found is not None and found.turn == 4
    found = disagreement(encoder(tmp_path, THINKING, train_on="last_answer"), TALK)
    assert found is not None and found.turn == 4


def test_training_that_begins_before_the_prompt_ends_is_shown(tmp_path: Path):
    found = disagreement(encoder(tmp_path, WIDE_MARKS), Conversation((QUESTION, ANSWER)))
    assert found is not None
    assert (found.turn, found.asked.endswith("<|im_start|>assistant\n")) == (2, True)
    assert "yes<|im_end|>" in found.trained


def test_a_token_across_the_edge_is_a_disagreement(tmp_path: Path):
    # Two line breaks are one token of this tokenizer: the prompt ends inside it.
    answer = Message("assistant", "\nA")
    found = disagreement(encoder(tmp_path, UNMARKED_CHATML), Conversation((QUESTION, answer)))
    assert found is not None
    assert found.turn == 2
    assert found.asked.endswith("assistant\n")
    assert "assistant\n\nA" in found.trained


def test_of_a_pair_the_worse_answer_must_agree_too(tmp_path: Path):
    pair = Preference((QUESTION,), (ANSWER,), (Message("assistant", "\nA"),))
    found = disagreement(encoder(tmp_path, UNMARKED_CHATML), pair)
    assert found is not None and "\n\nA" in found.trained
