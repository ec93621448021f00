"""The checkup on real files: what it finds in each was read and is true; anything else is a defect.

With the starter model and a maximum length of 1,024 tokens. A number is that of rows with the
finding; 0 stands for a finding about the whole dataset.
"""

import os
from pathlib import Path

import pytest

from studio.data.checkup import Checkup
from studio.data.dataset import Dataset, open_dataset
from studio.data.findings import KINDS
from studio.data.mending import mend
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.paths import STARTER_DIR
from studio.text.examination import run_checkup
from studio.text.examples import encoder_for

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

DATASETS = Path(os.environ["STUDIO_REALDATA"]) / "datasets"

FOUND: dict[str, dict[str, int]] = {
    "BELLE__zh_seed_tasks.json": {
        "answer_cut": 10,
        "few_rows": 0,
        "nothing_trained": 2,
        "personal_data": 2,
    },
    "DialogSum__dialogsum.dev.jsonl": {
        "answer_cut": 53,
        "different_answers": 2,
        "near_duplicate": 2,
        "nothing_trained": 95,
        "personal_data": 4,
        "split_leak": 1,
    },
    "FastChat__dummy_conversation.json": {
        "different_answers": 116,
        "near_duplicate": 5,
        "refusal": 12,
        "repeated_opening": 230,
        "split_leak": 1,
    },
    "LLaMA-Factory__alpaca_en_demo.json": {
        "answer_cut": 330,
        "duplicate_row": 14,
        "personal_data": 3,
        "refusal": 27,
        "split_leak": 2,
    },
    "LLaMA-Factory__c4_demo.jsonl": {
        "html": 3,
        "invisible_characters": 4,
        "mojibake": 1,
        "personal_data": 11,
    },
    "LLaMA-Factory__dataset_info.json": {"few_rows": 0},
    "LLaMA-Factory__dpo_en_demo.json": {
        "answer_cut": 136,
        "control_characters": 1,
        "duplicate_row": 5,
        "html": 2,
        "invisible_characters": 1,
        "mojibake": 1,
        "nothing_trained": 134,
        "personal_data": 1,
        "refusal": 5,
    },
    "LLaMA-Factory__glaive_toolcall_en_demo.json": {
        "answer_cut": 104,
        "different_answers": 7,
        "duplicate_row": 35,
        "near_duplicate": 4,
        "nothing_trained": 5,
        "personal_data": 11,
        "refusal": 44,
        "repeated_opening": 90,
        "split_leak": 3,
        "template_tool_calls": 153,
        "tools_not_written": 38,
    },
    "LLaMA-Factory__identity.json": {
        "different_answers": 2,
        "few_rows": 0,
        "near_duplicate": 1,
        "placeholder": 85,
        "refusal": 1,
        "split_leak": 1,
    },
    "LLaMA-Factory__kto_en_demo.json": {
        "answer_cut": 86,
        "html": 2,
        "mojibake": 2,
        "nothing_trained": 117,
        "personal_data": 1,
        "refusal": 8,
    },
    "LLaMA-Factory__wiki_demo.txt": {"few_rows": 0, "text_by_line": 0},
    "MTS-Dialog__MTS-Dialog-ValidationSet.csv": {
        "answer_cut": 14,
        "few_rows": 0,
        "nothing_trained": 11,
    },
    "MedicalGPT__en_article_tail500.txt": {"few_rows": 0},
    "MedicalGPT__medical_sft_1K_format.jsonl": {
        "answer_cut": 190,
        "html": 2,
        "nothing_trained": 1,
        "whitespace": 10,
    },
    "Open-Assistant__en_100_text.jsonl": {"few_rows": 0},
    "SmolLM2-customs__train-00000-of-00001.parquet": {"few_rows": 0, "repeated_opening": 24},
    "TOS__validation-00000-of-00001.parquet": {
        "duplicate_row": 9,
        "invisible_characters": 1,
        "near_duplicate": 2,
        "nothing_trained": 1,
        "personal_data": 2,
        "split_leak": 2,
    },
    "big-list-of-naughty-strings__blns.json": {
        "control_characters": 6,
        "duplicate_row": 4,
        "empty_text": 2,
        "html": 13,
        "invisible_characters": 10,
        "mojibake": 3,
        "near_duplicate": 15,
    },
    "cookbook__Symptom2Disease.csv": {"duplicate_row": 47, "near_duplicate": 6, "split_leak": 4},
    "cookbook__mocked_data.xlsx": {"empty_answer": 18, "missing_column": 589},
    "llm-finetuning__sqlqa.subsample.jsonl": {"few_rows": 0, "personal_data": 1},
    "llm-foundry__lambada_openai_small.jsonl": {"few_rows": 0},
    "openai-cheat-sheet__toy_chat_fine_tuning.jsonl": {
        "answer_cut": 1,
        "duplicate_row": 5,
        "few_rows": 0,
        "role_order": 3,
        "split_leak": 1,
    },
    "sentencepiece__botchan.txt": {
        "duplicate_row": 6,
        "near_duplicate": 1,
        "personal_data": 2,
        "split_leak": 1,
        "text_by_line": 0,
    },
    "stanford_alpaca__seed_tasks.jsonl": {
        "answer_cut": 11,
        "few_rows": 0,
        "nothing_trained": 5,
        "personal_data": 2,
    },
    "xtuner__gsm8k_train_example_data.jsonl": {"answer_cut": 6},
    "xtuner__pretrain_example_data.jsonl": {"few_rows": 0, "unknown_role": 3},
}
# Refused before any row is looked at.
REFUSED = {
    "lfs-pointer__helpful-base_test.jsonl.gz": "lfs_pointer",
    "llm-foundry__arc_challenge.jsonl": "mapping_incomplete",
    "llm-foundry__copa.jsonl": "mapping_incomplete",
}
# One finding of each kind that these files have, with its words.
SAID = {
    "LLaMA-Factory__c4_demo.jsonl": [
        "Row 1 has a phone number (780…92) in the text.",
        "Row 46: the text has remains of HTML: &apos;.",
        "Row 148: the text has an invisible character (U+200B, zero width space).",
        "Row 173: the text has broken characters: 'firstÂ' was 'first'.",
    ],
    "LLaMA-Factory__dpo_en_demo.json": [
        "Row 16: turn 2 (user) has broken characters: 'fiancÃ©' was 'fiancé'.",
        "Row 287: turn 1 (user) has a control character (U+000C).",
        "Row 143: turn 3 (assistant) refuses: 'I apologize, but I cannot provide'.",
    ],
    "DialogSum__dialogsum.dev.jsonl": [
        "Row 152 has a phone number (626…39) in turn 1 (user).",
        "Row 192 says nearly what row 165 says: 93% is the same.",
        "Row 192 gives another answer than row 165 to the same question.",
    ],
    "LLaMA-Factory__identity.json": [
        "Row 1: turn 2 (assistant) has {{name}}, which nobody filled in.",
    ],
    "FastChat__dummy_conversation.json": [
        "166 of 333 answers (50%) begin with “Goodbye! If you …”, for example row 3.",
        "Row 4: turn 2 (assistant) refuses: 'As a language model,'.",
    ],
    "openai-cheat-sheet__toy_chat_fine_tuning.jsonl": [
        "Row 4: turn 2, an answer, comes before any question.",
    ],
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def opened(name: str, cache: Path) -> Dataset:
    return open_dataset(DatasetRecipe(files=(str(DATASETS / name),)), cache)


def checked(dataset: Dataset, cache: Path) -> Checkup:
    encoder = encoder_for(STARTER_DIR, dataset.recipe, 1024)
    return run_checkup(dataset, encoder, cache, processes=False)


def numbers(found: Checkup) -> dict[str, int]:
    general = {finding.code: 0 for finding in found.findings}
    return general | found.profile.n_rows_by_code()


def test_every_real_file_is_named_here():
    here = {path.name for path in DATASETS.iterdir() if path.is_file()}
    assert here == FOUND.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", FOUND)
def test_what_is_wrong_in_a_real_file_is_found_and_nothing_else(name: str, cache: Path):
    found = checked(opened(name, cache), cache)

    assert numbers(found) == FOUND[name]
    messages = [finding.message for finding in found.findings]
    assert [words for words in SAID.get(name, ()) if words not in messages] == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_whose_rows_cannot_be_read_is_refused(name: str, cache: Path):
    with pytest.raises(DataError) as caught:
        checked(opened(name, cache), cache)
    assert caught.value.code == REFUSED[name]


@pytest.mark.parametrize(
    "name",
    [
        "LLaMA-Factory__identity.json",
        "LLaMA-Factory__c4_demo.jsonl",
        "cookbook__Symptom2Disease.csv",
    ],
)
def test_all_clicks_one_after_the_other_leave_nothing_that_a_click_mends(name: str, cache: Path):
    dataset = opened(name, cache)
    for _ in range(12):
        found = checked(dataset, cache)
        clicks = [code for code in found.profile.codes if KINDS[code].mend not in ("", "edit")]
        if not clicks:
            break
        recipe = mend(dataset.recipe, found, clicks[0])
        dataset = open_dataset(recipe, cache)
    assert clicks == []
