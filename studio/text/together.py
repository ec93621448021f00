"""Many samples on their way to tokens at once.

What a sample needs tokenized it asks for and waits; the texts of all that wait are tokenized
together, on all processor cores. One sample alone takes the same way, so both give the same.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from studio.errors import TemplateError
from studio.text.tokenizer import TextTokenizer, Tokens


@dataclass(frozen=True)
class Asked:
    """Texts whose tokens a sample needs to go on."""

    texts: list[str]
    add_special_tokens: bool = False


# Asks for tokens, gets them, and in the end returns what became of the sample.
Way = Generator[Asked, list[Tokens], Any]


def walk(way: Way, tokenizer: TextTokenizer) -> Any:
    """What the way returns."""
    try:
        asked = next(way)
        while True:
            texts = asked.texts
            asked = way.send([tokenizer.encode(text, asked.add_special_tokens) for text in texts])
    except StopIteration as end:
        return end.value


def walk_together(
    ways: Iterable[Way], tokenizer: TextTokenizer, n_together: int = 256
) -> Iterator[Any]:
    """What each way returns, in order, or the TemplateError that it ends with.

    While a thread tokenizes `n_together` samples (outside Python's lock), the next ones are read
    and rendered.
    """
    waiting = iter(ways)
    current = _Group(list(islice(waiting, n_together)))
    if len(current.ways) < n_together:
        yield from current.ends_after(_tokenized(current.asking, tokenizer), tokenizer)
        return
    with ThreadPoolExecutor(1) as thread:
        while current.ways:
            steps = thread.submit(_tokenized, current.asking, tokenizer)
            following = _Group(list(islice(waiting, n_together)))
            yield from current.ends_after(steps.result(), tokenizer)
            current = following


Steps = Sequence[tuple[int, list[Tokens]]]


class _Group:
    """Samples that go on together, each at the place where it asks for tokens."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self.ways = ways
        self.ends: list[Any] = [None] * len(ways)
        self.asking = self._go_on([(i, None) for i in range(len(ways))])

    def _go_on(self, steps: Sequence[tuple[int, list[Tokens] | None]]) -> list[tuple[int, Asked]]:
        asking = []
        for i, tokens in steps:
            try:
                asked = next(self.ways[i]) if tokens is None else self.ways[i].send(tokens)
                asking.append((i, asked))
            except StopIteration as end:
                self.ends[i] = end.value
            except TemplateError as error:
                self.ends[i] = error
        return asking

    def ends_after(self, steps: Steps, tokenizer: TextTokenizer) -> list[Any]:
        """What became of each sample, once it got the tokens that it asked for."""
        while steps:
            steps = _tokenized(self._go_on(steps), tokenizer)
        return self.ends


def _tokenized(asking: Sequence[tuple[int, Asked]], tokenizer: TextTokenizer) -> Steps:
    steps: list[tuple[int, list[Tokens]]] = []
    for special in (False, True):
        same = [(i, asked) for i, asked in asking if asked.add_special_tokens is special]
        if same:
            texts = [text for _, asked in same for text in asked.texts]
            found = iter(tokenizer.encode_batch(texts, special))
            steps += [(i, list(islice(found, len(asked.texts)))) for i, asked in same]
    return steps
