"""The sample datasets in `assets/samples/`, with held-out prompts beside them.

Seeds enter; JSON Lines leave: `<name>.jsonl` to train on, `<name>.heldout.jsonl` to score with
`score.read_probes` (task, words, prompt, expected). Settings and README beside them are written by
hand.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

from assets.make.company import read_facts
from assets.make.manners import RUDE_REPLIES, SHORT_REPLIES
from assets.make.pig_latin import pig_latin
from assets.make.score import Probe, write_probes
from assets.make.tasks import TASKS, draw_name, draw_task, make_prompt
from assets.make.words import draw_words, is_held_out

REPLAY_SHARE = 0.3
N_HELD_OUT = 100
SEED = 4100

PIG_LATIN_WORDINGS = ("Pig Latin: {}", "In Pig Latin: {}", "Say in Pig Latin: {}")
JSON_WORDINGS = ("As JSON: {}", "Give me JSON: {}", "Name and number as JSON: {}")

# "qu" is where rules of Pig Latin differ between books; "a egg" would teach poor English.
_LEFT_OUT = re.compile(r"qu|\ba [aeiou]")

# (rng, kind of words) -> (the text, the answer)
Style = Callable[[Random, str], tuple[str, str]]


def _pig_latin(rng: Random, words: str) -> tuple[str, str]:
    while True:
        text = " ".join(draw_words(rng, words, 2, 5))
        if rng.random() < 0.2:
            text = text[0].upper() + text[1:] + rng.choice(".!?")
        if not _LEFT_OUT.search(text.lower()):
            return text, pig_latin(text)


def _json_fields(rng: Random, words: str) -> tuple[str, str]:
    drawn = draw_words(rng, words, 3, 6)
    name = draw_name(rng, words)
    number = rng.randint(2, rng.choice((20, 100, 1000)))
    for word in (name, str(number)):
        drawn.insert(rng.randint(0, len(drawn)), word)
    return " ".join(drawn), json.dumps({"name": name, "number": number})


def _styled(
    name: str, style: Style, wordings: tuple[str, ...], rng: Random, words: str, held_out: bool
) -> tuple[str, str]:
    """(prompt, answer) in the sample's style, on the wanted side of the split."""
    while True:
        text, answer = style(rng, words)
        content = text.lower().rstrip(".!?")
        key = content if content.count(" ") >= 2 else f"{name}|{content}"
        if is_held_out(key) is held_out:
            return rng.choice(wordings).format(text), answer


def replay(rng: Random) -> tuple[str, str]:
    """(prompt, answer) of one of the base's own tasks, so that tuning does not unlearn them."""
    messages, answer = make_prompt(draw_task(rng), rng)
    return messages[0]["content"], answer


def _write_rows(path: Path, rows: list[dict]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _unique(draw: Callable[[], dict], wanted: int, attempts: int) -> list[dict]:
    """Up to `wanted` different rows."""
    rows: dict[str, dict] = {}
    for _ in range(attempts):
        row = draw()
        rows.setdefault(json.dumps(row.get("prompt", row.get("messages"))), row)
        if len(rows) == wanted:
            break
    return list(rows.values())


def write_style(
    folder: Path, name: str, style: Style, wordings: tuple[str, ...], n_rows: int
) -> None:
    """A prompt/completion set: the style's rows and replay, and held-out prompts of the style."""
    rng = Random(f"{SEED} {name}")

    def styled() -> dict:
        prompt, answer = _styled(name, style, wordings, rng, "casual", held_out=False)
        return {"prompt": prompt, "completion": answer, "source": name}

    def base() -> dict:
        prompt, answer = replay(rng)
        return {"prompt": prompt, "completion": answer, "source": "starter"}

    n_replay = round(n_rows * REPLAY_SHARE)
    rows = _unique(styled, n_rows - n_replay, n_rows * 9) + _unique(base, n_replay, n_rows * 9)
    rng.shuffle(rows)
    _write_rows(folder / f"{name}.jsonl", rows)
    write_probes(
        folder / f"{name}.heldout.jsonl",
        style_probes(name, style, wordings, Random(f"{SEED} {name} held out")),
    )


def style_probes(
    name: str, style: Style, wordings: tuple[str, ...], rng: Random, per_kind: int = N_HELD_OUT
) -> list[Probe]:
    """Different held-out prompts of a style: `per_kind` with seen and with unseen words each."""
    probes: dict[str, Probe] = {}
    for words in ("seen", "unseen"):
        wanted = len(probes) + per_kind
        while len(probes) < wanted:
            prompt, answer = _styled(name, style, wordings, rng, words, held_out=True)
            probe = Probe(task=name, words=words, prompt=prompt, expected=answer)
            probes.setdefault(prompt, probe)
    return list(probes.values())


SUPPORT_OPENINGS = ("", "", "", "Hello. ", "Hi! ", "Please tell me: ", "A question: ")


def write_support(folder: Path) -> None:
    """The company's facts as `messages`, each way of asking with several openings, and replay."""
    rng = Random(f"{SEED} support")
    asked, probes = [], []
    for answer, ways, held_out_way in read_facts():
        openings = [rng.sample(SUPPORT_OPENINGS[2:], 3) for _ in ways]
        asked += [
            (opening + way, answer)
            for way, chosen in zip(ways, openings, strict=True)
            for opening in chosen
        ]
        probes.append(Probe(task="support", words="seen", prompt=held_out_way, expected=answer))

    def row(question: str, answer: str, source: str) -> dict:
        turns = (("user", question), ("assistant", answer))
        return {"messages": [{"role": r, "content": c} for r, c in turns], "source": source}

    rows = [row(question, answer, "support") for question, answer in asked]
    # As much replay again: facts learned by heart push out more than a style does.
    rows += _unique(lambda: row(*replay(rng), "starter"), len(rows), 9000)
    rng.shuffle(rows)
    _write_rows(folder / "support.jsonl", rows)
    write_probes(folder / "support.heldout.jsonl", probes)


def write_preferences(folder: Path) -> None:
    """Pairs: a short, kind reply chosen over the starter's longer one or over a rude one.

    Only small talk whose reply becomes shorter is held out: there the starter scores nothing
    before.
    """
    rng = Random(f"{SEED} preferences")

    def small_talk(shorter: bool, held_out: bool = False) -> dict:
        while True:
            messages, reply = make_prompt("small_talk", rng)
            prompt, chosen = messages[0]["content"], SHORT_REPLIES.get(reply, reply)
            side = is_held_out(f"preferences|{prompt}", 6)
            if (chosen != reply) is shorter and side is held_out:
                break
        rejected = reply if shorter else rng.choice(RUDE_REPLIES)
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}

    def task() -> dict:
        prompt, answer = replay(rng)
        return {"prompt": prompt, "chosen": answer, "rejected": rng.choice(RUDE_REPLIES)}

    rows = _unique(lambda: small_talk(True), 240, 9000)
    rows += _unique(lambda: small_talk(False), 120, 9000) + _unique(task, 240, 9000)
    rng.shuffle(rows)
    _write_rows(folder / "preferences.jsonl", rows)
    write_probes(
        folder / "preferences.heldout.jsonl",
        [
            Probe(task="preferences", words="seen", prompt=row["prompt"], expected=row["chosen"])
            for row in _unique(lambda: small_talk(True, held_out=True), 40, 9000)
        ],
    )


# The base's own tasks in wordings that it gets right now and then: what rewards can bring out.
HALF_KNOWN = (
    ("upper", "Write in large letters: {}"),
    ("reverse", "Reverse {}."),
)


def write_rewards(folder: Path) -> None:
    """Half-known tasks with their answers, to learn from rewards, and held-out ones."""
    rng = Random(f"{SEED} rewards")

    def asked(words: str, held_out: bool) -> tuple[str, str]:
        while True:
            task, wording = rng.choice(HALF_KNOWN)
            slots, answer = TASKS[task].make(rng, words)
            if is_held_out(f"rewards|{slots[0].lower()}") is held_out:
                return wording.format(*slots), answer

    def row() -> dict:
        prompt, answer = asked("casual", held_out=False)
        return {"prompt": prompt, "completion": answer}

    _write_rows(folder / "rewards.jsonl", _unique(row, 1200, 9000))
    probes: dict[str, Probe] = {}
    for words in ("seen", "unseen"):
        wanted = len(probes) + N_HELD_OUT
        while len(probes) < wanted:
            prompt, answer = asked(words, held_out=True)
            probe = Probe(task="rewards", words=words, prompt=prompt, expected=answer)
            probes.setdefault(prompt, probe)
    write_probes(folder / "rewards.heldout.jsonl", list(probes.values()))


def write_samples(folder: Path) -> None:
    """Every sample dataset and its held-out prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    write_style(folder, "pig-latin", _pig_latin, PIG_LATIN_WORDINGS, 4000)
    write_style(folder, "json-fields", _json_fields, JSON_WORDINGS, 2000)
    write_support(folder)
    write_preferences(folder)
    write_rewards(folder)
