"""`chat`: one question, its answer as it comes."""

import argparse
from dataclasses import fields

from studio.cli.console import Console
from studio.data.messages import Message
from studio.environment import wait_for_llama
from studio.errors import ConfigError
from studio.jobs.chat import ChatPiece, ChatSession
from studio.jobs.chat_target import ChatTarget, gguf_target, is_gguf, resolve_target
from studio.jobs.llama_settings import AdapterUse, LlamaSettings
from studio.jobs.sampling import Sampling
from studio.paths import Workspace


def run_chat(options: argparse.Namespace, console: Console) -> int:
    """Ask the target once."""
    workspace = Workspace.open(options.workspace)
    sampling = Sampling(**{item.name: getattr(options, item.name) for item in fields(Sampling)})
    sampling.check()
    use = AdapterUse(on=not options.base, scale=options.scale)
    use.check()
    target = _target(workspace, options)
    _check_adapter(target, use)
    if target.kind == "gguf":
        wait_for_llama(lambda build: console.progress(build.message))
    messages = [Message("user", options.prompt)]
    if options.system:
        messages.insert(0, Message("system", options.system))
    with ChatSession(target, workspace.cache_dir / "chat.log") as session:
        session.open(console.progress)
        piece = ChatPiece(text="", delta="", n_tokens=0, tokens_per_second=0.0)
        for piece in session.generate(messages, sampling, use.on, use.scale):
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


def _target(workspace: Workspace, options: argparse.Namespace) -> ChatTarget:
    """What is asked. Raises: StudioError, also where an option does not go with it."""
    settings = LlamaSettings(threads=options.threads, gpu_layers=options.gpu_layers)
    if is_gguf(options.target):
        return gguf_target(options.target, options.lora, settings)
    if options.lora or settings != LlamaSettings():
        raise ConfigError(
            "--lora, --threads and --gpu-layers are for a .gguf file.",
            "Give the path of an exported file as TARGET, or leave them out.",
            "gguf_only",
        )
    return resolve_target(workspace, options.target)


def _check_adapter(target: ChatTarget, use: AdapterUse) -> None:
    if use.scale != AdapterUse.scale and not (target.kind == "gguf" and target.has_adapter):
        raise ConfigError(
            "--scale is for an adapter file on its base file.",
            "Give the base .gguf as TARGET and the adapter with --lora, or leave --scale out.",
            "gguf_only",
        )
    if not use.on and target.kind == "gguf" and not target.has_adapter:
        raise ConfigError(
            f"'{target.name}' is one file: there is no adapter to switch off.",
            "Leave --base out, or ask the run or the base model's folder.",
            "no_base",
        )


def _ended(piece: ChatPiece) -> str:
    return {
        "stop": "ended by itself",
        "length": "cut at --max-new-tokens",
        "context": "cut where the model's context is full",
    }.get(piece.stop_reason, piece.stop_reason)
