"""Greedy replies of a model and their exact-match scores.

A model and prompts with expected replies enter; shares of exact replies leave.
"""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from assets.make.tasks import TASKS, Message, check, make_prompt

SCORE_SEED = 77
PROBE_SEED = 78


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One held-out prompt. `words` is "seen" or "unseen"."""

    task: str
    words: str
    prompt: str
    expected: str

    @property
    def messages(self) -> list[Message]:
        """The prompt as a conversation."""
        return [{"role": "user", "content": self.prompt}]


def make_probes(seed: int, per_kind: int) -> list[Probe]:
    """Up to `per_kind` different held-out prompts per task and kind of words.

    A fact has no unseen words; of its few held-out questions and of the small talk's there may be
    fewer than asked for.
    """
    rng = Random(seed)
    probes: dict[str, Probe] = {}
    for task in TASKS:
        for words in ("seen",) if task == "facts" else ("seen", "unseen"):
            found = 0
            for _ in range(per_kind * 20):
                messages, expected = make_prompt(task, rng, words=words, held_out=True)
                prompt = messages[0]["content"]
                if prompt not in probes:
                    probes[prompt] = Probe(task=task, words=words, prompt=prompt, expected=expected)
                    found += 1
                if found == per_kind:
                    break
    return list(probes.values())


def write_probes(path: Path, probes: list[Probe]) -> None:
    """One JSON object a line."""
    lines = (json.dumps(asdict(probe), ensure_ascii=False) for probe in probes)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_probes(path: Path) -> list[Probe]:
    """What `write_probes` wrote; also the samples' held-out files."""
    return [Probe(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def load(folder: Path, adapter: Path | None = None) -> tuple[PreTrainedModel, Tokenizer]:
    """The model in FP32, with a LoRA adapter on it where one is given."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        from peft import PeftModel  # noqa: PLC0415  loading peft takes seconds

        model = PeftModel.from_pretrained(model, adapter)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@torch.inference_mode()
def reply_all(
    model: PreTrainedModel, tokenizer: Tokenizer, conversations: list[list[Message]]
) -> list[str]:
    """One greedy reply per conversation, in the order given."""
    texts = [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in conversations
    ]
    replies = [""] * len(texts)
    # Similar lengths together: less padding, and replies of a batch end at about the same step.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        inputs = tokenizer(
            [texts[i] for i in chosen],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        )
        generated = model.generate(**inputs, do_sample=False, max_new_tokens=128)
        new = generated[:, inputs["input_ids"].shape[1] :]
        decoded = tokenizer.batch_decode(new, skip_special_tokens=True)
        for i, reply in zip(chosen, decoded, strict=True):
            replies[i] = reply
    return replies


def score(
    model: PreTrainedModel, tokenizer: Tokenizer, probes: list[Probe]
) -> dict[str, dict[str, tuple[int, int]]]:
    """(exact replies, prompts) by task and kind of words."""
    table: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    replies = reply_all(model, tokenizer, [probe.messages for probe in probes])
    for probe, reply in zip(probes, replies, strict=True):
        right, total = table[probe.task].get(probe.words, (0, 0))
        table[probe.task][probe.words] = (right + check(probe.expected, reply), total + 1)
    return dict(table)


def share(table: dict[str, dict[str, tuple[int, int]]], tasks: list[str], words: str) -> float:
    """Mean over the tasks of the exact share, 0 to 1, each task counted alike."""
    cells = [table[task][words] for task in tasks if words in table[task]]
    return sum(right / total for right, total in cells) / len(cells)


def table_lines(table: dict[str, dict[str, tuple[int, int]]]) -> list[str]:
    """The scores as a Markdown table, one row per task."""
    lines = ["| task | seen words | unseen words |", "|---|---|---|"]
    for task, cells in table.items():
        shown = [
            f"{100 * cells[words][0] / cells[words][1]:.1f} % of {cells[words][1]}"
            if words in cells
            else "–"
            for words in ("seen", "unseen")
        ]
        lines.append(f"| {task} | {' | '.join(shown)} |")
    return lines
