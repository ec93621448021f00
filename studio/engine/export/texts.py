"""What an exported file is checked with: tricky texts, the run's own rows, rendered prompts.

No torch here. In: a model folder and, for a run, its config. Out: CheckTexts, which hold the ids
that training and chat use; the export must give the same.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.data.dataset import open_dataset
from studio.data.messages import Conversation, Message, PlainText, Preference, Sample
from studio.data.recipe import DatasetRecipe
from studio.errors import StudioError, TemplateError
from studio.paths import Workspace
from studio.text.examples import Encoder, encoder_for
from studio.training.config import RunConfig

N_ROWS = 24
MAX_SEQUENCE = 256
_MAX_TEXT = 2_000
# Logits of all positions together stay under this many numbers (FP32: a quarter of a GB).
_MAX_LOGITS = 1 << 26
_MAX_TOKENS = 1_024

# Where ways of cutting text differ: contractions, digits, blanks, scripts, signs, odd characters.
TRICKY = (
    "Hello, world!",
    "It's what they'll say: I'M SURE you'd've known, don't you?",
    "Numbers: 7 42 365 2024 12345 1234567890 3.14159 1,000,000 0x1F 1e-9",
    "tabs\tand\t\ttwo tabs",
    "line\nbreak\n\ntwo breaks\r\nwindows\n",
    "double  triple   quadruple    spaces     ",
    "    four spaces in front",
    " one space in front",
    "ends with a space ",
    "\n\n\nthree breaks first",
    "def f(x):\n    if x != 0:\n        return {'a': [x**2, -x]}  # note\n",
    '<div class="x">&nbsp;</div> <!-- no -->',
    "https://example.org/path?q=1&r=%20#top user@example.org",
    "C:\\Users\\name\\file.txt $HOME ~/x",
    "a+b=c; x<y>z; p|q; r^s; 50%; #1; @me; *bold* _it_ `code` ~no~",
    "!!! ??? ... --- ___ === *** (((nested))) [[x]] {{y}}",
    "«guillemets» “quotes” ‘single’ – — … • † ‡ § ¶ © ® ™",
    "Äpfel, Öl, Übermut, ß, straße; déjà vu; señor; ça; piñata; Zürich",
    "Łódź, żółw, čeština, ğüşiöç, Đà Nẵng, tiếng Việt",
    "Привет, как дела? Ёжик.",
    "Καλημέρα κόσμε, πώς είσαι;",
    "שלום עולם",
    "مرحبا بالعالم، كيف الحال؟",
    "नमस्ते दुनिया, क्षत्रिय",
    "สวัสดีชาวโลก",
    "你好，世界！这是一个测试。",
    "こんにちは世界。カタカナとひらがな。",
    "안녕하세요 세계, 잘 지내요?",
    "mixed 日本語 and English 中文 words",
    "😀 🎉 👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☕",
    "e\u0301 a\u0308 combining; \u00e9 \u00e4 composed",
    "zero\u200bwidth, no\u00a0break, soft\u00adhyphen, \ufeffmark",
    "ﬁ ligature, ² ³ ½ Ⅳ ㎏ ＦＵＬＬ",
    "∑∫√∞≈≠≤≥±×÷ → ← ↔ ⇒ α β γ ∂ ∈ ∀ ∃",
    "𝒳 𝔸 𠜎 𐍈",
    "CamelCase snake_case kebab-case SCREAMING_CASE mIxEd",
    "Supercalifragilisticexpialidocious antidisestablishmentarianism",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "                                        ",
    "'s 't 're 've 'm 'll 'd 'S 'T 'RE",
    "3rd 2nd 1st 21st-century 4x4 5'10\" 10:30pm 24/7 -5°C €9.99 £1 ¥100",
    '{"role": "user", "content": "text", "n": [1, 2.5, null, true]}',
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "- item\n  - nested\n\n1. one\n2. two",
    "What is the capital of France? The capital of France is Paris.",
)
PROSE = (
    "The old lighthouse stood at the end of the pier. Every evening a keeper climbed its one "
    "hundred and twelve steps, lit the lamp, and wrote a line into the book: wind, weather, ships. "
    "Nobody read the book, but he never missed a day, and when the storm of that winter came it "
    "was the only record of what had passed in the night.",
    "To make bread, mix flour, water, salt and yeast. Knead the dough for ten minutes, let it rest "
    "until it has doubled, shape it, and bake it at a high temperature. The crust is done when it "
    "sounds hollow.",
)


@dataclass(frozen=True, kw_only=True)
class CheckTexts:
    """`conversations` are rendered by `encoder`; `sequences` are token ids for logits."""

    encoder: Encoder
    texts: list[str]
    conversations: list[tuple[Message, ...]]
    sequences: list[list[int]]
    note: str = ""

    def encode(self, text: str) -> list[int]:
        """Ids of a text as it stands."""
        return self.encoder.tokenizer.encode(text).ids

    @property
    def end_of_turn(self) -> int | None:
        """The token that ends an answer in the template; None where none is marked as an end."""
        turn = (Message("user", "question"), Message("assistant", "answer"))
        try:
            read = replace(self.encoder, train_on="last_answer").read(Conversation(turn))
        except TemplateError:
            return None
        last = read.tokens.ids[read.trained[-1][1] - 1] if read.trained else None
        return last if last in self.encoder.stop_ids else None

    @property
    def starts_with_bos(self) -> bool:
        """Whether what the model sees begins with BOS, in chat or, without chat, in plain text."""
        bos = self.encoder.tokenizer.special_id("bos_token")
        if not self.conversations:
            return bos is not None and self.encoder.tokenizer.first_ids[:1] == [bos]
        return bos is not None and self.encoder.prompt_ids(self.conversations[0])[:1] == [bos]

    def prompts(self) -> list[str]:
        """The rendered text of every conversation, up to where the assistant speaks."""
        return [_prompt(self.encoder, messages) for messages in self.conversations]


def texts_for_run(config: RunConfig, base: Path, workspace: Workspace) -> CheckTexts:
    """Texts with the run's own rows, validation rows first.

    Where the run's data is gone, the studio's own texts must do, and the note says so.
    """
    encoder = encoder_for(base, config.dataset, MAX_SEQUENCE)
    try:
        samples, note = _samples(config.dataset, workspace), ""
    except StudioError as error:
        samples, note = [], f"Without the run's rows: {error.message}"
    return _build(encoder, samples, note, chat=True)


def texts_for_model(folder: Path) -> CheckTexts:
    """Texts for an untouched model; conversations only where it brings a chat template."""
    encoder = encoder_for(folder, DatasetRecipe(), MAX_SEQUENCE)
    return _build(encoder, [], "", chat="default" in encoder.tokenizer.templates)


def _samples(recipe: DatasetRecipe, workspace: Workspace) -> list[Sample]:
    dataset = open_dataset(recipe, workspace.cache_dir)
    split = dataset.split()
    chosen = (split.validation + split.train)[:N_ROWS]
    return [sample for _, sample in dataset.samples(chosen, failures=[])]


def _build(encoder: Encoder, samples: Sequence[Sample], note: str, chat: bool) -> CheckTexts:
    contents: list[str] = []
    conversations: list[tuple[Message, ...]] = []
    for sample in samples:
        if isinstance(sample, PlainText):
            contents.append(sample.text[:_MAX_TEXT])
            continue
        messages = sample.messages if isinstance(sample, Conversation) else sample.prompt
        contents += [message.content[:_MAX_TEXT] for message in messages if message.content]
        conversations.append(before_last_answer(messages))
    if chat:
        conversations += _usual_conversations()
    texts = list(dict.fromkeys((*TRICKY, *PROSE, *contents)))
    if type(encoder.tokenizer.core.normalizer).__name__ == "NFC":
        # The tokenizer composes accents first; llama.cpp takes text as it comes.
        texts = [unicodedata.normalize("NFC", text) for text in texts]
        conversations = [tuple(map(_composed, messages)) for messages in conversations]
    rendered = [c for c in conversations if c and _renders(encoder, c)] if chat else []
    sequences = _sequences(encoder, samples, rendered)
    return CheckTexts(
        encoder=encoder, texts=texts, conversations=rendered, sequences=sequences, note=note
    )


def before_last_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation up to its last answer."""
    answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
    return tuple(messages[: answers[-1]]) if answers else tuple(messages)


def _usual_conversations() -> list[tuple[Message, ...]]:
    hello, reply = Message("user", "Hello! Who are you?"), Message("assistant", "A model.")
    system = Message("system", "Answer in one sentence.")
    usual = [(hello,), (system, hello), (hello, reply, Message("user", "And then?"))]
    return [*usual, *((Message("user", text),) for text in TRICKY if not text.startswith(" "))]


def _composed(message: Message) -> Message:
    return replace(message, content=unicodedata.normalize("NFC", message.content))


def _renders(encoder: Encoder, messages: Sequence[Message]) -> bool:
    # Some templates refuse a system prompt or a question without one.
    try:
        _prompt(encoder, messages)
    except TemplateError:
        return False
    return True


def _prompt(encoder: Encoder, messages: Sequence[Message]) -> str:
    tokens = encoder.tokenizer.special_tokens
    return encoder.template.render(messages, True, special_tokens=tokens).text


def _sequences(
    encoder: Encoder, samples: Sequence[Sample], conversations: Sequence[tuple[Message, ...]]
) -> list[list[int]]:
    """Token ids to compare logits on: rows as trained, prompts, prose; a bounded number."""
    n_left = min(_MAX_TOKENS, _MAX_LOGITS // encoder.tokenizer.n_tokens)
    prose = [encoder.tokenizer.encode(text, add_special_tokens=True).ids for text in PROSE]
    prompts = [encoder.prompt_ids(messages) for messages in conversations[-3:]]
    rows = [_row_ids(encoder, sample) for sample in samples]
    sequences = []
    for ids in (*prose, *rows, *prompts):
        ids = ids[: min(MAX_SEQUENCE, n_left)]
        if len(ids) > 1:
            sequences.append(ids)
            n_left -= len(ids)
    return sequences


def _row_ids(encoder: Encoder, sample: Sample) -> list[int]:
    if not isinstance(sample, Preference):
        try:
            return encoder.encode_one(sample).input_ids
        except TemplateError:
            return []
    pair = encoder.encode_preference(sample)
    return pair.chosen.input_ids
