"""The base's own tasks: prompts with exactly one right answer, and their checker.

The corpus, the probes, the replay rows of the samples and the benchmarks all draw from
`make_prompt`, so that "what the starter can do" has one meaning.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from assets.make.facts import FACT_GROUPS, SMALL_TALK
from assets.make.words import (
    NAMES,
    TRAINING_WORDS,
    UNSEEN_NAMES,
    draw_word,
    draw_words,
    is_held_out,
    pseudo_word,
)

Message = dict[str, str]

# (rng, kind of words) -> (slots of the wording, answer); the first slot is the content.
Maker = Callable[[Random, str], tuple[tuple[str, ...], str]]

SUFFIXES = "ing ed ly s er ful less ish ness est ko mi tu ra en ol ik um os ent".split()
SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are a small model that works with words.",
    "Answer briefly.",
    "Be kind and exact.",
)


OPENINGS = (
    "",
    "",
    "",
    "",
    "Please tell me: ",
    "A question: ",
    "Hello. ",
    "Tell me, please: ",
    "Hi! ",
)


@dataclass(frozen=True)
class Task:
    """One task: its wordings with {} for the slots, and how content and answer are drawn."""

    name: str
    wordings: tuple[str, ...]
    make: Maker


def _surface(rng: Random, words: list[str]) -> str:
    """Words as a text: mostly plain, sometimes with a capital and a full stop."""
    text = " ".join(words)
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.2:
        text += rng.choice(".!?")
    return text


def _one_word(words: str, rng: Random) -> str:
    """One word; in training half seen words, half invented ones."""
    if words in TRAINING_WORDS:
        words = rng.choice(("seen", "pseudo"))
    return draw_word(rng, words)


def _on_word(answer: Callable[[str], str]) -> Maker:
    """A task on one word."""

    def make(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
        word = _one_word(words, rng)
        return (word,), answer(word)

    return make


def _on_words(
    answer: Callable[[list[str]], str], low: int = 2, high: int = 5, plain: bool = True
) -> Maker:
    """A task on the words of a short text; with `plain` False it may carry capitals and a stop."""

    def make(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
        drawn = draw_words(rng, words, low, high)
        text = " ".join(drawn) if plain else _surface(rng, drawn)
        return (text,), answer(text.split())

    return make


def _each(change: Callable[[str], str]) -> Callable[[list[str]], str]:
    """Apply `change` to every word and put the words together again."""
    return lambda words: " ".join(change(word) for word in words)


def _suffix(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    text, suffix = " ".join(draw_words(rng, words, 1, 4)), rng.choice(SUFFIXES)
    return (text, suffix), _each(lambda word: word + suffix)(text.split())


def _lower(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    text = " ".join(draw_words(rng, words, 2, 5))
    return (text.upper(),), text


def _unspell(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    word = _one_word(words, rng)
    return ("-".join(word),), word


def _vowels(change: str) -> Callable[[list[str]], str]:
    return lambda words: "".join(change if c in "aeiou" else c for c in " ".join(words))


def _first_vowel(word: str) -> str:
    return next((letter for letter in word if letter in "aeiou"), "none")


def _swap(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    first, second = _one_word(words, rng), _one_word(words, rng)
    return (f"{first} {second}",), f"{second} {first}"


def _find_number(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    drawn, number = draw_words(rng, words, 3, 6), str(rng.randint(2, rng.choice((20, 100, 1000))))
    drawn.insert(rng.randint(1, len(drawn) - 1), number)
    return (" ".join(drawn),), number


def draw_name(rng: Random, words: str) -> str:
    """A first name; the later stages of training invent every second one."""
    if words in TRAINING_WORDS[1:] and rng.random() < 0.5:
        name = pseudo_word(rng).capitalize()
        return name if name not in UNSEEN_NAMES else rng.choice(NAMES)
    return rng.choice(UNSEEN_NAMES if words == "unseen" else NAMES)


def _find_name(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    drawn, name = draw_words(rng, words, 3, 6), draw_name(rng, words)
    drawn.insert(rng.randint(0, len(drawn)), name)
    return (" ".join(drawn),), name


def _facts(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    wordings, pairs = rng.choice(FACT_GROUPS)
    subject, answer = rng.choice(pairs)
    question = rng.choice(wordings).format(subject)
    if rng.random() < 0.2:
        question = question[0].lower() + question[1:].rstrip("?.")
    if words != "mixed":
        question = rng.choice(OPENINGS) + question
    return (question,), answer


def _small_talk(rng: Random, words: str) -> tuple[tuple[str, ...], str]:
    if words == "unseen" or rng.random() < 0.2:
        name = draw_name(rng, words)
        opening = rng.choice(
            ("I am {}.", "My name is {}.", "Hello, I am {}.", "Hi, my name is {}.")
        )
        return (opening.format(name),), f"Nice to meet you, {name}!"
    ways, reply = rng.choice(SMALL_TALK)
    prompt = rng.choice(ways) + rng.choice(("", ".", "!", "?"))
    return (prompt if rng.random() < 0.8 else prompt.lower(),), reply


def _task(name: str, make: Maker, *wordings: str) -> Task:
    return Task(name, wordings, make)


_TASK_LIST = (
    _task(
        "repeat", _on_words(" ".join, 2, 6, False), "Repeat: {}", "Say this again: {}", "Copy: {}"
    ),
    _task("upper", _on_words(_each(str.upper)), "In capitals: {}", "Write in big letters: {}"),
    _task("lower", _lower, "In small letters: {}", "Write in lower case: {}"),
    _task("title", _on_words(_each(str.capitalize)), "Capital for each word: {}", "As a title: {}"),
    _task("spell", _on_word("-".join), "Spell the word {}.", "Spell {}.", "How do you spell {}?"),
    _task("unspell", _unspell, "Join the letters: {}", "Which word is {}?"),
    _task("reverse", _on_word(lambda w: w[::-1]), "Reverse the word {}.", "Write {} backwards."),
    _task("first_word", _on_words(lambda w: w[0], 3, 6), "First word of: {}", "Word one of: {}"),
    _task("last_word", _on_words(lambda w: w[-1], 3, 6), "Last word of: {}", "Final word of: {}"),
    _task("first_letter", _on_word(lambda w: w[0]), "First letter of {}?", "How does {} begin?"),
    _task("last_letter", _on_word(lambda w: w[-1]), "Last letter of {}?", "How does {} end?"),
    _task(
        "count_letters",
        _on_word(lambda w: str(len(w))),
        "How many letters are in {}?",
        "Count the letters of {}.",
    ),
    _task("suffix", _suffix, "Add to each word of {}: -{}", "Put after each word of {}: -{}"),
    _task(
        "drop_first",
        _on_words(_each(lambda w: w[1:]), 1, 4),
        "Drop the first letter of each word: {}",
        "Without first letters: {}",
    ),
    _task(
        "drop_last",
        _on_words(_each(lambda w: w[:-1]), 1, 4),
        "Drop the last letter of each word: {}",
        "Without last letters: {}",
    ),
    _task(
        "rotate",
        _on_word(lambda w: w[1:] + w[0]),
        "Move the first letter of {} to the end.",
        "First letter last: {}",
    ),
    _task(
        "first_vowel",
        _on_words(_each(_first_vowel), 1, 4),
        "First vowel of each word: {}",
        "Which vowel comes first in each word: {}",
    ),
    _task(
        "initials",
        _on_words(lambda ws: "".join(w[0] for w in ws), 3, 6),
        "First letters of: {}",
        "Initials of: {}",
    ),
    _task("join", _on_words("-".join), "Join with dashes: {}", "Put dashes between: {}"),
    _task("no_vowels", _on_words(_vowels(""), 1, 4), "Remove the vowels: {}", "No vowels: {}"),
    _task("mask_vowels", _on_words(_vowels("*"), 1, 4), "Hide the vowels: {}", "Mask vowels: {}"),
    _task(
        "quote",
        _on_words(lambda ws: f'"{" ".join(ws)}"', 2, 5, False),
        "Put in quotes: {}",
        "Quote this: {}",
    ),
    _task("find_number", _find_number, "Find the number: {}", "Which number is in: {}"),
    _task("find_name", _find_name, "Find the name: {}", "Which name is in: {}"),
    _task(
        "double",
        _on_words(_each(lambda w: f"{w} {w}"), 1, 3),
        "Say each word twice: {}",
        "Double each word: {}",
    ),
    _task(
        "count_words",
        _on_words(lambda ws: str(len(ws)), 1, 6),
        "How many words: {}",
        "Count the words: {}",
    ),
    _task("swap", _swap, "Swap the two words: {}", "Other way round: {}"),
    _task("facts", _facts, "{}"),
    _task("small_talk", _small_talk, "{}"),
)
TASKS = {task.name: task for task in _TASK_LIST}

# What a first user tries, and what the bar of 90 % is set on.
CORE_TASKS = ("repeat", "spell", "facts")
# Tasks whose content is learned by heart: nobody can work out an untrained fact.
MEMORY_TASKS = ("facts", "small_talk")


def _in_held_out(task: str, slots: tuple[str, ...], words: str) -> bool:
    """On which side of the split a prompt lies.

    A text of several words is held out of every task; one word only of its own task, because every
    seen word must occur somewhere. What is learned by heart is asked in training in every wording;
    held out are some combinations of question and opening, and some short remarks with their stop.
    """
    if task in MEMORY_TASKS and words != "mixed":
        opened = slots[0].startswith(tuple(filter(None, OPENINGS)))
        return (opened or slots[0].count(" ") < 2) and is_held_out(f"{task}|{slots[0]}")
    content = slots[0].lower().rstrip(".!?")
    return is_held_out(content if content.count(" ") >= 2 else f"{task}|{'|'.join(slots)}")


def _casual(rng: Random, wording: str) -> str:
    """A wording as people type it: mostly as it stands, else small, without stops, with please."""
    if wording == "{}" or rng.random() < 0.6:
        return wording
    start = wording[0].lower() + wording[1:]
    if "?" not in wording and rng.random() < 0.3:
        return f"Please {start}"
    return rng.choice((start.replace(":", ""), start)).rstrip(".?")


def make_prompt(
    task: str, rng: Random, *, words: str = "casual", held_out: bool = False
) -> tuple[list[Message], str]:
    """One prompt of `task` as messages (one user turn), and the only right answer.

    Args:
        task: a key of TASKS.
        rng: where all randomness comes from.
        words: one of TRAINING_WORDS, "seen" (real words of the corpus) or "unseen" (words that no
            training row has, so that every such text is held out).
        held_out: draw from the texts that training leaves out, else only from the others.
    """
    spec = TASKS[task]
    while True:
        slots, answer = spec.make(rng, words)
        # A letter task can leave nothing of a word; such prompts read oddly and are drawn again.
        whole = answer and answer == " ".join(answer.split())
        if whole and (words == "unseen" or _in_held_out(task, slots, words) is held_out):
            wording = rng.choice(spec.wordings)
            if words not in TRAINING_WORDS[:2]:
                wording = _casual(rng, wording)
            text = wording.format(*slots)
            return [{"role": "user", "content": text}], answer


def check(expected: str, reply: str) -> bool:
    """Exact match; only white space around the reply is forgiven."""
    return reply.strip() == expected


def draw_task(rng: Random, weights: dict[str, float] | None = None) -> str:
    """A task's name; tasks that `weights` does not name weigh 1."""
    return rng.choices(tuple(TASKS), [(weights or {}).get(name, 1.0) for name in TASKS])[0]


def make_conversation(
    rng: Random, words: str = "casual", weights: dict[str, float] | None = None
) -> list[Message]:
    """One corpus row: a task with its answer; 6 % have two turns, 8 % a system message."""
    messages: list[Message] = []
    if rng.random() < 0.08:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_MESSAGES)})
    for _ in range(2 if rng.random() < 0.06 else 1):
        prompt, answer = make_prompt(draw_task(rng, weights), rng, words=words)
        messages += [*prompt, {"role": "assistant", "content": answer}]
    return messages
