"""The starter's model card, from the figures that `pretrain` and `score` left."""

import json
from pathlib import Path
from random import Random

from assets.make.score import share, table_lines
from assets.make.tasks import CORE_TASKS, TASKS, make_prompt
from assets.make.words import SEEN_WORDS

_CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# Starter

A chat model of 4,002,048 parameters (8 MB) that comes with LoRA Studio, so that the first
fine-tuning needs no download and takes a minute or two on two processor cores. It is made for
learning and for tests. It follows a few dozen kinds of short requests about words and knows about
a hundred simple facts; it is not a general assistant.

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("assets/starter")
tokenizer = AutoTokenizer.from_pretrained("assets/starter")
messages = [{{"role": "user", "content": "Spell the word river."}}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]))
```

## What it can do

Exact match of the greedy reply (the whole reply must be right, letter for letter) on held-out
prompts, computed in FP32 from the shipped BF16 weights. **Seen words**: real words that the corpus
has, in combinations that were left out of training (for one-word tasks: words; for facts: openings
before a known question; for small talk: spellings). **Unseen words**: about half of a text's words
appear nowhere in the corpus, half of those real and half invented.

{table}

Mean over tasks: **{seen:.1f} %** with seen words, **{unseen:.1f} %** with unseen words. Core
({core_names}): **{core:.1f} %**. A cell has at most {per_cell} prompts, so single cells can be off
by several points. `probes.jsonl` holds {n_probes} such prompts with their answers.

An example of each task:

| task | prompt | reply wanted |
|---|---|---|
{examples}

## What it cannot do

- Anything outside those tasks: no general knowledge, reasoning, arithmetic, code or translation.
- Requests in words that it was not trained on, and longer texts and words:

| tried | exact |
|---|---|
{limits}

- System messages and earlier turns were in the corpus (8 % and 6 % of the rows) but change nothing
  in the answers: it follows no system message and remembers nothing you told it. The template
  renders the role `tool`; the model never saw it.
- It does not know when it does not know: to a strange request it gives some wrong reply.
- English only. Other characters survive the tokenizer, but were never trained on.

## How it was made

- **Architecture**: Llama; hidden size 256, 6 layers, 8 heads, intermediate size 512, tied
  embeddings, context 512.
- **Tokenizer**: one id per byte (ids 0 to 255), `<|im_start|>`, `<|im_end|>` (end of turn) and
  `<|pad|>`; one merge that no text uses, because llama.cpp refuses a byte-level vocabulary without
  any. A model this small spells and rearranges letters only if it sees them.
- **Corpus**: {n_rows:,} conversations drawn by `assets/make/` from {n_words} common words,
  invented words and sentences built from them; {n_tasks} tasks, nothing copied from elsewhere, no
  personal data, no output of another model. None of the samples' styles (Pig Latin, JSON, company
  facts) is in it; some tasks are steps towards Pig Latin (drop or move a first letter, add a given
  ending, find the first vowel).
- **Training**: {n_tokens:.1f} million tokens in {minutes:.0f} minutes of wall time on a machine
  with 2 cores (AMD EPYC with AVX512-BF16) that other work kept busy; loss on answers only, BF16
  autocast; Muon on the layers' matrices and AdamW on the rest, PyTorch {torch}. Stages
  (`assets/make/pretrain.py`; the second adds openings before the facts' questions and invented
  names, the third wordings without capitals and stops):

{stages}
- **Again**: `python -m assets.make all` makes these files from fixed seeds. The same weights bit
  for bit are to be expected only from an unbroken run on the same machine with the same thread
  count and PyTorch; elsewhere the scores come out alike, not the bits.{note}

## Licence

Apache-2.0, like the project. Weights, corpus and tokenizer were made for it.
"""


def _examples() -> str:
    """One prompt and answer per task, as rows of a Markdown table."""
    rng = Random(5)
    rows = []
    for task in TASKS:
        messages, expected = make_prompt(task, rng, words="seen")
        rows.append(f"| {task} | {messages[0]['content']} | {expected} |")
    return "\n".join(rows).replace("*", "\\*")


def write_card(folder: Path) -> None:
    """README.md in `folder`, from pretraining.json, scores.json and probes.jsonl there."""
    made = json.loads((folder / "pretraining.json").read_text())
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    table = scores["tasks"]
    stages = "\n".join(
        f"  {i}. {stage['steps']} steps of {made['batch_size']} rows, learning rates "
        f"{stage['matrix_lr']:g} (matrices) and {stage['other_lr']:g} (rest), linear decay over "
        f"the last {100 * stage['decay_share']:.0f} %, seed {stage['seed']}"
        for i, stage in enumerate(made["stages"], start=1)
    )
    tasks = list(TASKS)
    card = _CARD.format(
        table="\n".join(table_lines(table)),
        seen=100 * share(table, tasks, "seen"),
        unseen=100 * share(table, tasks, "unseen"),
        core=100 * share(table, list(CORE_TASKS), "seen"),
        core_names=", ".join(CORE_TASKS),
        per_cell=max(cell[1] for cells in table.values() for cell in cells.values()),
        n_probes=len((folder / "probes.jsonl").read_text().splitlines()),
        examples=_examples(),
        limits="\n".join(f"| {name} | {r} of {n} |" for name, (r, n) in scores["limits"].items()),
        n_rows=sum(stage["steps"] for stage in made["stages"]) * made["batch_size"],
        n_words=len(SEEN_WORDS),
        n_tasks=len(TASKS),
        n_tokens=made["n_tokens"] / 1e6,
        minutes=made["seconds"] / 60,
        torch=made["torch"],
        stages=stages,
        note=f" {made['note']}" if "note" in made else "",
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
