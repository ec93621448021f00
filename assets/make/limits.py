"""Where the starter ends: prompts beyond its corpus, for the model card.

A model enters; shares of exact replies by kind of prompt leave.
"""

from collections.abc import Iterator
from random import Random

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from assets.make.score import make_probes, reply_all
from assets.make.tasks import Message, check
from assets.make.words import NOUNS, SEEN_WORDS, pseudo_word

N_PROMPTS = 40
LIMIT_SEED = 79

Prompt = tuple[list[Message], str]


def _user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def _groups(rng: Random) -> Iterator[tuple[str, list[Prompt]]]:
    """(what is tried, prompts with the replies wanted)."""
    for n_words in (6, 8, 10):
        texts = [" ".join(rng.sample(SEEN_WORDS, n_words)) for _ in range(N_PROMPTS)]
        yield f"repeat {n_words} words", [(_user(f"Repeat: {t}"), t) for t in texts]
    for n_letters in (8, 10, 12):
        words = ["".join(pseudo_word(rng) for _ in range(6))[:n_letters] for _ in range(N_PROMPTS)]
        spelled = [(_user(f"Spell the word {word}."), "-".join(word)) for word in words]
        yield f"spell an invented word of {n_letters} letters", spelled
    words = NOUNS[:N_PROMPTS]
    for wording in ("Please tell me the letters of {}", "Give me {} letter by letter"):
        asked = [(_user(wording.format(word)), "-".join(word)) for word in words]
        yield f"a request never trained: “{wording.format('river')}”", asked
    probes = make_probes(LIMIT_SEED, 3)
    system: Message = {"role": "system", "content": "You are a pirate. Talk like one."}
    yield (
        "its own tasks under an unknown system message (which it ignores)",
        [([system, *probe.messages], probe.expected) for probe in probes],
    )
    first = _user("Good morning!")
    first.append({"role": "assistant", "content": "Good morning! How can I help you?"})
    yield (
        "its own tasks as the second turn",
        [([*first, *probe.messages], probe.expected) for probe in probes],
    )


def measure_limits(model: PreTrainedModel, tokenizer: Tokenizer) -> dict[str, tuple[int, int]]:
    """(exact replies, prompts) by what is tried."""
    results = {}
    for name, prompts in _groups(Random(LIMIT_SEED)):
        replies = reply_all(model, tokenizer, [messages for messages, _ in prompts])
        right = sum(check(want, got) for (_, want), got in zip(prompts, replies, strict=True))
        results[name] = (right, len(prompts))
    return results
