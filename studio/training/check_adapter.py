"""What an adapter's settings cannot do on this model, each with its reason and the way out.

Refused is what would not start, what would train something else than is said, and what could not
be merged into the base exactly.
"""

import re
from collections.abc import Callable, Iterator

from studio.errors import ConfigError
from studio.models.facts import Linear, ModelFacts
from studio.settings import Problem, knobs
from studio.training.adapter import PROMPTS, AdapterSettings
from studio.training.config import RunConfig
from studio.training.counts import by_pattern, module_weights, rank_of, targets
from studio.training.kinds import ABOUT, foreign_knobs

# Settings that another kind would silently leave out; numbers such as the rank may stay.
_PROMISES = (
    *("use_rslora", "use_dora", "init_lora_weights", "freeze_a", "bias", "layers"),
    *("rank_pattern", "alpha_pattern", "modules_to_save", "train_experts", "train_router"),
    "quantization",
)
_LABELS = {item.name: item.label for item in knobs(AdapterSettings)}
_LABELS |= {"target_modules": "Target modules", "modules_to_save": "Whole modules to train"}
# As the screen writes them.
_INITS = {"pissa": "PiSSA", "olora": "OLoRA", "loftq": "LoftQ"}
_BITS = {"nf4": "4 bits", "int8": "8 bits"}
_NOT_ON_CONV1D = ("loha", "lokr", "oft", "miss")
_SPLITS_WEIGHTS = ("pissa", "olora")
_EMBEDDINGS = re.compile(r".*\b(embed_tokens|wte|embed_in|word_embeddings|lm_head|embed_out)\..+")


def adapter_problems(config: RunConfig, facts: ModelFacts) -> list[Problem]:
    """All problems of the adapter's settings on this model."""
    settings = config.adapter
    if settings.kind not in ABOUT:
        return []
    unreadable = list(_unreadable(settings))
    if unreadable:
        return unreadable
    found = [*_foreign(settings), *_in_bits(settings)]
    if settings.trains_base:
        return found
    if settings.kind in PROMPTS:
        return [*found, *_of_prompts(config, facts)]
    found += _unknown(settings, facts)
    layers = targets(settings, facts)
    if facts.linear and not layers and not found:
        found.append(_problem("layers", "No layer is left for an adapter.", "Choose more layers."))
    for rule in (_of_saved_modules, _of_biases, _of_sizes, _of_starts):
        found += rule(settings, facts, layers)
    return found


def _problem(name: str, message: str, fix: str) -> Problem:
    return Problem(field=f"adapter.{name}", message=message, fix=fix)


def _unreadable(settings: AdapterSettings) -> Iterator[Problem]:
    readers: dict[str, Callable[[], object]] = {
        "rank_pattern": settings.ranks,
        "alpha_pattern": settings.alphas,
        "layers": settings.layer_numbers,
    }
    for name, read in readers.items():
        try:
            patterns = read()
            for pattern in patterns if isinstance(patterns, dict) else ():
                re.compile(pattern)
        except ConfigError as error:
            yield _problem(name, error.message, error.fix)
        except re.error as error:
            message = f"{_LABELS[name]}: '{error.pattern!s}' cannot be read: {error}."
            yield _problem(name, message, "Write layers by their names, such as q_proj=8.")


def _foreign(settings: AdapterSettings) -> Iterator[Problem]:
    default = AdapterSettings()
    for name in foreign_knobs(settings):
        if name in _PROMISES:
            usual = getattr(default, name)
            yield _problem(
                name,
                f"{ABOUT[settings.kind].label} has no {_LABELS[name]}.",
                f"Set {_LABELS[name]} back ({usual!r}), or choose LoRA.",
            )


def _in_bits(settings: AdapterSettings) -> Iterator[Problem]:
    init, bits = settings.init_lora_weights, settings.quantization
    if settings.kind != "lora":
        return
    if init in _SPLITS_WEIGHTS and bits != "none":
        yield _problem(
            "init_lora_weights",
            f"{_INITS[init]} takes a part out of the base's weights; in {_BITS[bits]} what is left "
            "would be rounded again, and the adapter would not fit the original base.",
            "Set Base in memory to None, or Start values to LoftQ on a 4-bit base.",
        )
    if init == "loftq" and bits != "nf4":
        yield _problem(
            "init_lora_weights",
            "LoftQ makes up for the error of a 4-bit base, and the base is not in 4 bits.",
            "Set Base in memory to 4-bit (NF4), or Start values to Default.",
        )


def _of_prompts(config: RunConfig, facts: ModelFacts) -> Iterator[Problem]:
    settings, training = config.adapter, config.training
    needed = settings.n_virtual_tokens + training.max_length
    if facts.context_length and needed > facts.context_length:
        yield _problem(
            "n_virtual_tokens",
            f"{settings.n_virtual_tokens} virtual tokens before {training.max_length} of text are "
            f"more than the model's context of {facts.context_length}.",
            f"Set Maximum length to {facts.context_length - settings.n_virtual_tokens} or less.",
        )
    if config.method == "reward":
        yield _problem(
            "kind",
            "A reward model reads its points without the learned tokens: only its head would be "
            "trained.",
            "Choose LoRA, or another method.",
        )
    if settings.kind == "prefix" and training.gradient_checkpointing:
        yield _problem(
            "kind",
            "Gradient checkpointing forgets the learned keys and values of prefix tuning.",
            "Switch Gradient checkpointing off, or choose prompt tuning or p-tuning.",
        )


def _unknown(settings: AdapterSettings, facts: ModelFacts) -> Iterator[Problem]:
    unknown = [name for name in settings.target_modules if name not in facts.linear_names]
    tied = [name for name in unknown if facts.tied and name in ("embed_tokens", "wte", "lm_head")]
    if tied:
        yield _problem(
            "target_modules",
            f"{tied[0]} is the embedding and the output layer at once (tied): an adapter on it "
            "could not be merged exactly.",
            "Choose from: " + ", ".join(facts.linear_names) + ".",
        )
    elif unknown:
        yield _problem(
            "target_modules",
            f"The model has no layers named {', '.join(unknown)}.",
            "Choose from: " + ", ".join(facts.linear_names) + ".",
        )
    beyond = [number for number in settings.layer_numbers() if number >= facts.n_layers]
    if beyond:
        yield _problem(
            "layers",
            f"The model has no block {beyond[0]}.",
            f"Blocks are counted from 0; the last one is {facts.n_layers - 1}.",
        )
    for name, patterns in (
        ("rank_pattern", settings.ranks()),
        ("alpha_pattern", settings.alphas()),
    ):
        for pattern in patterns:
            if not any(by_pattern({pattern: 1}, layer.name, 0) for layer in facts.linear):
                yield _problem(
                    name,
                    f"{_LABELS[name]}: no layer is named '{pattern}'.",
                    "Choose from: " + ", ".join(facts.linear_names) + ", also with the block's "
                    "number, such as 0.self_attn.q_proj.",
                )


def _of_saved_modules(
    settings: AdapterSettings, facts: ModelFacts, layers: list[Linear]
) -> Iterator[Problem]:
    for module in settings.modules_to_save:
        weights = module_weights(module, facts)
        if not weights:
            yield _problem(
                "modules_to_save",
                f"The model has no module named {module}.",
                "Take the name from the model, such as lm_head or norm.",
            )
        elif facts.tied and any(_EMBEDDINGS.fullmatch(weight) for weight in weights):
            yield _problem(
                "modules_to_save",
                f"{module} is the embedding and the output layer at once (tied): a trained copy of "
                "it could not be merged exactly.",
                f"Take {module} out of Whole modules to train.",
            )
        elif any(f"{layer.name}.weight" in weights for layer in layers):
            yield _problem(
                "modules_to_save",
                f"{module} holds layers that have an adapter.",
                f"Take {module} out of Whole modules to train, or its layers out of the adapter.",
            )


def _of_biases(
    settings: AdapterSettings, facts: ModelFacts, layers: list[Linear]
) -> Iterator[Problem]:
    has_any = any(name.endswith(".bias") for name in facts.shapes)
    if settings.bias == "all" and not has_any:
        yield _problem("bias", "The model has no biases.", "Set Biases to None.")
    if settings.bias == "lora_only" and not any(layer.bias for layer in layers):
        yield _problem(
            "bias", "The layers with an adapter have no biases.", "Set Biases to None or All."
        )


def _of_sizes(
    settings: AdapterSettings, facts: ModelFacts, layers: list[Linear]
) -> Iterator[Problem]:
    r = settings.r
    if facts.conv1d and settings.kind in _NOT_ON_CONV1D:
        yield _problem(
            "kind",
            f"{ABOUT[settings.kind].label} does not know the layers of {facts.architecture} "
            "(Conv1D).",
            "Choose LoRA, AdaLoRA, IA3 or VeRA.",
        )
        return
    if settings.kind == "oft":
        if r < 2:
            yield _problem("r", "A block of size 1 cannot turn.", "Set the rank to 2 or more.")
        for layer in _first_of_kind(layers, lambda layer: layer.n_in % r != 0):
            yield _problem(
                "r",
                f"OFT cuts the {layer.n_in} inputs of {layer.kind} into blocks of {r}; they do "
                "not divide.",
                f"Set the rank to a divisor of {layer.n_in}, such as "
                f"{next(b for b in range(min(r, layer.n_in), 0, -1) if layer.n_in % b == 0)}.",
            )
    if settings.kind == "miss":
        for layer in _first_of_kind(layers, lambda layer: layer.n_in < r):
            yield _problem(
                "r",
                f"MiSS cannot cut the {layer.n_in} inputs of {layer.kind} into {r} slices.",
                f"Set the rank to {layer.n_in} or less.",
            )


def _of_starts(
    settings: AdapterSettings, facts: ModelFacts, layers: list[Linear]
) -> Iterator[Problem]:
    if settings.kind != "lora":
        return
    init = settings.init_lora_weights
    if init == "orthogonal":
        uneven = [layer for layer in layers if rank_of(settings, layer) % 2]
        for layer in uneven[:1]:
            yield _problem(
                "init_lora_weights",
                f"Orthogonal start values need an even rank; {layer.kind} has "
                f"{rank_of(settings, layer)}.",
                "Set the rank to an even number, or Start values to Default.",
            )
    if init in (*_SPLITS_WEIGHTS, "loftq"):
        small = [ly for ly in layers if rank_of(settings, ly) > min(ly.n_in, ly.n_out)]
        for layer in small[:1]:
            yield _problem(
                "r",
                f"{_INITS[init]} takes directions of the weights, and {layer.kind} has only "
                f"{min(layer.n_in, layer.n_out)}.",
                "Lower the rank, or set Start values to Default.",
            )


def _first_of_kind(layers: list[Linear], wrong: Callable[[Linear], bool]) -> list[Linear]:
    """One layer of each kind that is wrong: the same in every block is said once."""
    return list({layer.kind: layer for layer in reversed(layers) if wrong(layer)}.values())
