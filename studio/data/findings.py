"""What a checkup can find: one thing in one row (Finding), and what is to know of its kind (KINDS).

Every check names its finding by a code; the table here says in a newcomer's words what it is, why
it matters, how serious it is, and which click mends all its rows at once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

# Rows of a kind that are listed with their message; one more finding counts the rest.
N_LISTED = 100

Severity = Literal["bad", "look", "note"]
# In this order a screen shows them.
SEVERITIES: tuple[Severity, ...] = ("bad", "look", "note")


@dataclass(frozen=True)
class Finding:
    """One thing to know or to mend; `row` counts from 1, None where it is about all rows."""

    code: str
    row: int | None
    message: str
    fix: str


@dataclass(frozen=True)
class FindingKind:
    """What is to know of all findings with one code.

    bad: training would learn something wrong or leave the row out. look: probably wrong, a person
    decides. note: good to know. `mend` names the click: "drop" removes its rows (of repeated ones
    the first stays), "clean:<rule>" mends their texts, "edit" opens the row, "" there is none.
    """

    title: str
    why: str
    severity: Severity
    mend: str = ""


_LEFT_OUT = "The row cannot be used and is left out of training."
_ROWS_LEFT_OUT: dict[str, str] = {
    "missing_column": "A column is missing",
    "no_messages": "No list of turns",
    "no_prompt": "No question",
    "no_answer": "No answer of the assistant",
    "empty_answer": "The answer is empty",
    "empty_text": "The text is empty",
    "not_text": "Something else than text",
    "unknown_role": "Unknown role",
    "bad_history": "Earlier turns that are no pairs",
    "bad_tools": "Tools that cannot be read",
    "bad_tool_call": "A tool call without a name",
    "bad_label": "A label that is not true or false",
    "bad_weight": "A weight that is no number",
    "row_template": "The row's template does not work on it",
    "phrasing_empty": "A phrasing leaves nothing to ask",
}
_TEMPLATE = "The chat template cannot write this conversation exactly, so the row is left out."
_TEMPLATES: dict[str, str] = {
    "template_render": "The chat template refuses the turns",
    "template_marks": "The template's answer marks cannot be placed",
    "template_no_prefix": "The template rewrites earlier turns",
    "template_half_token": "An answer begins inside a token",
    "template_no_answer": "An answer without a token of its own",
    "template_tool_calls": "The template does not write tool calls",
    "template_too_slow": "The chat template takes too long on this row",
    "template": "The chat template does not work on this row",
}

KINDS: dict[str, FindingKind] = {
    **{
        code: FindingKind(title, _LEFT_OUT, "bad", "drop") for code, title in _ROWS_LEFT_OUT.items()
    },
    "no_preference": FindingKind(
        "Better and worse answer are the same",
        "There is nothing to prefer: the row is left out of training.",
        "bad",
        "drop",
    ),
    "half_character": FindingKind(
        "Half a character",
        "Half of an emoji or sign cannot be written as text, so the row is left out of training.",
        "bad",
        "clean:control_characters",
    ),
    **{code: FindingKind(title, _TEMPLATE, "bad", "drop") for code, title in _TEMPLATES.items()},
    "template_half_token": FindingKind(
        _TEMPLATES["template_half_token"],
        "Blanks at the ends of the answer melt into the template's text, so where the answer "
        "begins cannot be told.",
        "bad",
        "clean:whitespace",
    ),
    "empty_turn": FindingKind(
        "A turn without text",
        "An empty answer teaches the model to say nothing; an empty question, to answer anything.",
        "bad",
        "drop",
    ),
    "nothing_trained": FindingKind(
        "Nothing of the row is trained on",
        "Its answer is empty or begins behind the maximum length, so the row teaches nothing.",
        "bad",
        "drop",
    ),
    "answer_cut": FindingKind(
        "The answer is cut",
        "What stands behind the maximum length is never seen, nor the token that ends the answer: "
        "the model learns to stop nowhere.",
        "look",
        "drop",
    ),
    "role_order": FindingKind(
        "Turns out of order",
        "User and assistant should take turns; many chat templates refuse anything else.",
        "look",
        "drop",
    ),
    "duplicate_row": FindingKind(
        "The same row again",
        "A repeated row counts twice in training and is sooner learned by heart.",
        "look",
        "drop",
    ),
    "near_duplicate": FindingKind(
        "Nearly the same row",
        "Rows that differ in a few words count almost like repeated ones.",
        "look",
        "drop",
    ),
    "split_leak": FindingKind(
        "In training and in validation",
        "What is trained on cannot measure learning: the validation loss looks better than it is.",
        "bad",
        "drop",
    ),
    "contaminated": FindingKind(
        "Part of an evaluation set",
        "A model that has seen the questions of a test gets a score that means nothing.",
        "bad",
        "drop",
    ),
    "different_answers": FindingKind(
        "The same question, another answer",
        "Two answers to one question pull the model both ways. Fine where many answers are right.",
        "look",
        "drop",
    ),
    "repeated_opening": FindingKind(
        "Many answers begin alike",
        "The model learns to begin every answer with these words.",
        "note",
    ),
    "refusal": FindingKind(
        "The answer refuses",
        "Refusals and phrases such as 'As an AI language model' are learned quickly and spread "
        "to questions that deserve an answer.",
        "look",
        "drop",
    ),
    "mojibake": FindingKind(
        "Broken characters",
        "Text read in the wrong encoding ('cafÃ©') would be learned as it stands.",
        "bad",
        "clean:mojibake",
    ),
    "control_characters": FindingKind(
        "Control characters",
        "Invisible control codes become tokens that nobody types in a chat.",
        "look",
        "clean:control_characters",
    ),
    "invisible_characters": FindingKind(
        "Invisible characters",
        "Zero-width and direction marks split words into other tokens, and can hide text.",
        "look",
        "clean:zero_width",
    ),
    "html": FindingKind(
        "Remains of HTML",
        "Tags and entities from a web page ('<br>', '&nbsp;') would be learned as answers.",
        "look",
        "clean:html",
    ),
    "placeholder": FindingKind(
        "A placeholder nobody filled in",
        "The model would say '{{name}}' to people, letter by letter.",
        "look",
        "drop",
    ),
    "whitespace": FindingKind(
        "Blanks at the ends of the answer",
        "The model learns to begin or end with blanks; some templates cannot place such answers.",
        "note",
        "clean:whitespace",
    ),
    "other_script": FindingKind(
        "The answer is in another script",
        "It is written in other letters than its question and than most answers.",
        "look",
        "drop",
    ),
    "unusual_length": FindingKind(
        "Much longer or shorter than the others",
        "Such rows are often a mistake in the file: a whole document, a cut answer.",
        "note",
        "edit",
    ),
    "class_imbalance": FindingKind(
        "Some answers are rare",
        "The model can get most rows right by always giving the frequent answer.",
        "look",
    ),
    "few_rows": FindingKind(
        "Few rows", "With few examples the model learns them by heart instead of the task.", "note"
    ),
    "bad_answers": FindingKind(
        "Examples of bad answers",
        "Rows marked as bad would be learned as good answers under this layout.",
        "bad",
    ),
    "personal_data": FindingKind(
        "Personal data",
        "A trained model can repeat addresses and numbers of real people to anybody.",
        "look",
        "clean:personal_data",
    ),
    "secret": FindingKind(
        "A key or token",
        "Whoever gets the model may get the key out of it. Take it out, and make it invalid.",
        "bad",
        "clean:personal_data",
    ),
    "control_token_in_text": FindingKind(
        "A control token as text",
        "The model reads it as a command of the chat format, not as text.",
        "look",
        "edit",
    ),
    "tools_not_written": FindingKind(
        "Tools are not written",
        "The chat template leaves out the list of tools, so training does not see it.",
        "look",
    ),
    "reasoning_content_not_written": FindingKind(
        "Reasoning is not written",
        "The chat template leaves out the reasoning, so training does not see it.",
        "look",
    ),
    "generation_prompt_differs": FindingKind(
        "Chat will ask otherwise than training did",
        "In chat the text before the answer is not the one that was trained on, so the model is "
        "asked something it never saw.",
        "bad",
    ),
    "no_split": FindingKind(
        "The rows cannot be split",
        "Without its parts training cannot start.",
        "bad",
    ),
    "text_by_line": FindingKind(
        "Every line is a row", "The text file has no blank lines to tell its parts.", "note"
    ),
    "read_so": FindingKind(
        "How the file was read",
        "The file could be read in more than one way; this one was chosen.",
        "note",
    ),
    "no_stop_token": FindingKind(
        "No end token",
        "Without one the model cannot learn where an answer ends and goes on talking.",
        "bad",
    ),
    "pad_equals_eos": FindingKind(
        "Padding equals the end token",
        "Programs that mask padding by its token also mask the end of answers; the studio does "
        "not.",
        "note",
    ),
}


def kind_of(code: str) -> FindingKind:
    """What is to know of a code; of one that is not in the table, that its row is left out."""
    return KINDS.get(code) or FindingKind(code.replace("_", " "), _LEFT_OUT, "bad", "drop")


class FindingList:
    """Gathers findings; lists the first hundred of a kind and counts the rest."""

    def __init__(self) -> None:
        self._by_code: dict[str, list[Finding]] = defaultdict(list)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, finding: Finding) -> None:
        self._counts[finding.code] += 1
        if len(self._by_code[finding.code]) < N_LISTED:
            self._by_code[finding.code].append(finding)

    def extend(self, findings: Iterable[Finding], counts: Mapping[str, int]) -> None:
        """Findings of later rows; `counts` says how many rows there are of each code in all."""
        for finding in findings:
            if len(self._by_code[finding.code]) < N_LISTED:
                self._by_code[finding.code].append(finding)
        for code, n in counts.items():
            self._counts[code] += n

    def listed(self) -> list[Finding]:
        """The findings by kind; behind the hundredth of a kind one that counts the rest."""
        findings = []
        for code, listed in self._by_code.items():
            findings.extend(listed)
            more = self._counts[code] - len(listed)
            if more:
                findings.append(
                    Finding(
                        code,
                        None,
                        f"{more:,} more rows like row {listed[-1].row}: "
                        f"{self._counts[code]:,} in all.",
                        listed[-1].fix,
                    )
                )
        return findings
