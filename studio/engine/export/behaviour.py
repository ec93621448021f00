"""Does the file answer as the model does? The same greedy answers, in transformers and llama.cpp.

In: held-out questions. Out: Answers of base and tuned model, and of each file. The file stops by
its own marks alone: no other program would tell it where an answer ends.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.engine.chat.llama import LlamaChat
from studio.engine.chat.torch_model import TorchAnswer, TorchChatModel
from studio.engine.export.held_out import HeldOut, Question
from studio.jobs.chat_target import ChatTarget
from studio.jobs.sampling import Sampling
from studio.results.answers import BASE, TUNED, Answer, Answers

Progress = Callable[[int, int], None]


def torch_answers(
    base: Path, adapter: Path | None, recipe: dict[str, Any], held_out: HeldOut, progress: Progress
) -> tuple[Answers | None, Answers]:
    """Answers of the base alone (None where there is no adapter) and of the tuned model, FP32."""
    target = ChatTarget(
        kind="run" if adapter else "model",
        name=base.name,
        model=str(base),
        adapter=str(adapter or ""),
        recipe=recipe,
        precision="fp32",
    )
    chat, questions = TorchChatModel(target), held_out.questions
    n_models = 2 if adapter else 1
    found: list[list[Answer]] = []
    for number, tuned in enumerate((False, True)[-n_models:]):
        answers = []
        for place, question in enumerate(questions):
            answers.append(_torch_answer(chat, question, held_out, tuned))
            progress(number * len(questions) + place + 1, n_models * len(questions))
        found.append(answers)
    before = Answers(type=BASE, answers=tuple(found[0])) if adapter else None
    return before, Answers(type=TUNED, answers=tuple(found[-1]))


def _torch_answer(
    chat: TorchChatModel, question: Question, held_out: HeldOut, tuned: bool
) -> Answer:
    answer = TorchAnswer(chat, question.ids, _greedy(held_out), tuned)
    text, reason = "", ""
    while not reason:
        step = answer.step()
        text, reason = text + step.delta, step.stop_reason
    answer.close()
    return _answer(question, text, reason)


def llama_answers(path: Path, file_type: str, held_out: HeldOut, progress: Progress) -> Answers:
    """Answers of the GGUF at `path`."""
    longest = max(len(question.ids) for question in held_out.questions)
    chat = LlamaChat(path, longest + held_out.max_new_tokens + 1)
    answers = []
    try:
        for place, question in enumerate(held_out.questions):
            text = "".join(chat.answer(question.ids, _greedy(held_out)))
            answers.append(_answer(question, text, chat.stop_reason))
            progress(place + 1, len(held_out.questions))
    finally:
        chat.close()
    return Answers(type=file_type, answers=tuple(answers))


def _greedy(held_out: HeldOut) -> Sampling:
    return Sampling(temperature=0.0, max_new_tokens=held_out.max_new_tokens)


def _answer(question: Question, text: str, reason: str) -> Answer:
    # Where the length ends an answer, half a character may stand last.
    return Answer(
        question=question.text,
        reference=question.reference,
        text=text.rstrip("\ufffd"),
        stopped=reason == "stop",
    )
