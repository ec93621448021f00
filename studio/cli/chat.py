"""`chat`: one question, its answer as it comes."""

import argparse
from dataclasses import fields

from studio.cli.console import Console
from studio.data.messages import Message
from studio.environment import wait_for_llama
from studio.errors import ConfigError
from studio.jobs.chat import ChatPiece, ChatSession
from studio.jobs.chat_target import ChatTarget, resolve_target
from studio.jobs.sampling import Sampling
from studio.paths import Workspace


def run_chat(options: argparse.Namespace, console: Console) -> int:
    """Ask the target once."""
    workspace = Workspace.open(options.workspace)
    sampling = Sampling(**{item.name: getattr(options, item.name) for item in fields(Sampling)})
    sampling.check()
    target = resolve_target(workspace, options.target)
    _check_base(target, options.base)
    if target.kind == "gguf":
        wait_for_llama(lambda build: console.progress(build.message))
    messages = [Message("user", options.prompt)]
    if options.system:
        messages.insert(0, Message("system", options.system))
    with ChatSession(target, workspace.cache_dir / "chat.log") as session:
        session.open(console.progress)
        piece = ChatPiece(text="", delta="", n_tokens=0, tokens_per_second=0.0)
        for piece in session.generate(messages, sampling, tuned=not options.base):
            console.say(piece.delta, end="")
    console.say()
    console.note(f"{piece.n_tokens} tokens, {piece.tokens_per_second:g} tokens/s, {_ended(piece)}")
    console.result(
        {
            "text": piece.text,
            "n_tokens": piece.n_tokens,
            "tokens_per_second": piece.tokens_per_second,
        }
    )
    return 0


def _check_base(target: ChatTarget, base: bool) -> None:
    if base and target.kind == "gguf":
        raise ConfigError(
            f"'{target.name}' is a merged file: its base model cannot be asked through it.",
            "Leave --base out, or ask the run or the base model's folder.",
            "no_base",
        )


def _ended(piece: ChatPiece) -> str:
    return {
        "stop": "ended by itself",
        "length": "cut at --max-new-tokens",
        "context": "cut where the model's context is full",
    }.get(piece.stop_reason, piece.stop_reason)
