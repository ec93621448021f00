"""An adapter that is there already → the settings it was made with, checked against a base model.

In: a folder as a run or somebody else left it, and the base's facts. Out: AdapterSettings that
describe it. Only configuration and safetensors headers are read; what does not fit is an error
before any weight is.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.errors import ModelError
from studio.models.experts import Shape
from studio.models.facts import ModelFacts, file_shapes
from studio.training.adapter import AdapterSettings
from studio.training.counts import by_pattern
from studio.training.result_folder import (
    PEFT_CONFIG,
    PEFT_WEIGHTS,
    TRAINED_FACTS,
    TRAINED_WEIGHTS,
    adapter_kind,
    missing_file,
)
from studio.training.whole_weights import trained_names

_PREFIX = "base_model.model."
_PART = re.compile(r"(.+?)\.(?:lora_|ia3_|vera_|hada_|lokr_|oft_|miss_)(.+)")
_KINDS = {"LORA": "lora", "IA3": "ia3", "VERA": "vera", "LOHA": "loha", "LOKR": "lokr"}
_KINDS |= {"OFT": "oft", "MISS": "miss"}
_NOT_TRAINED_ON = {
    "ADALORA": "AdaLoRA gives ranks out during its own run alone",
    **dict.fromkeys(
        ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING"), "learned tokens cannot be trained on"
    ),
}
# What a LoRA may have that is not among the studio's settings and changes what it computes.
_FOREIGN = ("layer_replication", "lora_bias", "trainable_token_indices", "use_qalora")
_BASE_CHANGING = ("pissa", "olora", "loftq", "corda", "lora_ga")


def settings_of(folder: Path, facts: ModelFacts) -> AdapterSettings:
    """The settings of the adapter in `folder`, once it is known to fit the base of `facts`.

    Raises: ModelError for pickles, kinds that cannot be trained on, damage, and another base.
    """
    _refuse_missing(folder)
    if adapter_kind(folder) == "weights":
        return _trained_weights(folder, facts)
    values = _read_json(folder / PEFT_CONFIG)
    tensors = file_shapes(folder / PEFT_WEIGHTS)
    kind = _kind_of(values)
    modules, others = _split(tensors)
    if not modules:
        raise _damaged(f"{PEFT_WEIGHTS} has no adapter layers in the layout that peft writes")
    layers = {layer.name: layer for layer in facts.linear}
    found = {module: _known_name(module, [*layers, *_parameters(facts)]) for module in modules}
    missing = [module for module, name in found.items() if not name]
    if missing:
        raise _mismatch(values, f"it changes {missing[0]}, which this base does not have")
    for module, parts in modules.items():
        layer = layers.get(found[module])
        if layer and kind == "lora":
            _check_lora(values, module, parts, (layer.n_in, layer.n_out))
    _check_whole_modules(values, others, facts)
    targets = {layers[name].kind for name in found.values() if name in layers}
    experts = any(_is_parent(name, facts.experts) for name in found.values())
    routers = any(_is_parent(name, facts.routers) for name in found.values())
    return _as_settings(kind, values, sorted(targets), (experts, routers))


def base_name(folder: Path) -> str:
    """The base model that a peft adapter names; "" where it names none."""
    if adapter_kind(folder) != "peft":
        return ""
    return str(_read_json(folder / PEFT_CONFIG).get("base_model_name_or_path") or "")


def _refuse_missing(folder: Path) -> None:
    if adapter_kind(folder):
        return
    if (folder / "adapter_model.bin").is_file():
        raise ModelError(
            f"'{folder.name}' has its weights only as a pickle (adapter_model.bin), a format that "
            "can run code when it is opened.",
            "Take the safetensors version of this adapter.",
            "model_pickle",
        )
    raise ModelError(
        f"The adapter folder '{folder.name}' has no {missing_file(folder)}.",
        f"Choose a folder with {PEFT_CONFIG} and {PEFT_WEIGHTS}.",
        "adapter_missing",
    )


def _kind_of(values: dict[str, Any]) -> str:
    """The kind, where a run can go on from it. Raises: ModelError."""
    peft_type = str(values.get("peft_type"))
    if peft_type not in _KINDS:
        raise _unsupported(_NOT_TRAINED_ON.get(peft_type, f"the studio has no kind {peft_type}"))
    if values.get("task_type") not in (None, "CAUSAL_LM"):
        raise _unsupported(f"it is for {values['task_type']}, not for writing text")
    for name in _FOREIGN:
        if values.get(name):
            raise _unsupported(f"it uses {name}, which the studio does not train")
    start = str(values.get("init_lora_weights", True)).lower()
    if start.startswith(_BASE_CHANGING):
        raise _unsupported(f"it belongs to a base that was changed by its start values ({start})")
    return _KINDS[peft_type]


def _split(tensors: Mapping[str, Shape]) -> tuple[dict[str, dict[str, Shape]], dict[str, Shape]]:
    """Adapter tensors by their module, then part; and weights of the model itself."""
    modules: dict[str, dict[str, Shape]] = {}
    others: dict[str, Shape] = {}
    for key, shape in tensors.items():
        if not key.startswith(_PREFIX):
            # VeRA's shared matrices stand above the model.
            continue
        name = key.removeprefix(_PREFIX).replace(".base_layer", "")
        part = _PART.fullmatch(name)
        if part:
            modules.setdefault(part[1], {})[part[2].removesuffix(".weight")] = shape
        else:
            others[name] = shape
    return modules, others


def _parameters(facts: ModelFacts) -> list[str]:
    """Modules that hold experts' and routers' parameters."""
    names = [layer.name for layer in (*facts.experts, *facts.routers)]
    return [*names, *(name.rpartition(".")[0] for name in names)]


def _is_parent(name: str, layers: Sequence[Any]) -> bool:
    return any(name in (layer.name, layer.name.rpartition(".")[0]) for layer in layers)


def _known_name(module: str, names: Sequence[str]) -> str:
    """The base's name of a module; some files leave out the model's own prefix. "" for none."""
    short = module.partition(".")[2]
    known = set(names)
    return next((name for name in (module, short) if name in known), "")


def _check_lora(
    values: dict[str, Any], module: str, parts: dict[str, Shape], sizes: tuple[int, int]
) -> None:
    """Raises: ModelError where A [r, in] and B [out, r] are not as base and settings say."""
    n_in, n_out = sizes
    if not {"A", "B"} <= parts.keys():
        raise _damaged(f"{module} has only {', '.join(sorted(parts))} of its two matrices")
    rank = by_pattern(values.get("rank_pattern") or {}, module, int(values["r"]))
    (r, a_in), (b_out, b_r) = parts["A"], parts["B"]
    if (a_in, b_out) != (n_in, n_out):
        raise _mismatch(
            values, f"{module} takes {a_in} and gives {b_out}, here it takes {n_in}, gives {n_out}"
        )
    if (r, b_r) != (rank, rank):
        raise _damaged(f"{PEFT_CONFIG} says rank {rank}, the matrices of {module} have {r}, {b_r}")


def _check_whole_modules(
    values: dict[str, Any], others: Mapping[str, Shape], facts: ModelFacts
) -> None:
    """Raises: ModelError where the adapter's whole modules and biases are not the base's."""
    if facts.tied and any(name.startswith("lm_head") for name in others):
        raise _mismatch(values, "it has an output layer of its own, which is tied here")
    for name, shape in others.items():
        own = facts.shapes.get(name) or facts.shapes.get(name.partition(".")[2])
        if own != shape:
            raise _mismatch(values, f"{name} is {shape}, here it is {own or 'not there'}")


def _as_settings(
    kind: str, values: dict[str, Any], targets: list[str], fused: tuple[bool, bool]
) -> AdapterSettings:
    default = AdapterSettings()
    layers = values.get("layers_to_transform")
    numbers = [layers] if isinstance(layers, int) else layers or []
    r = values.get("oft_block_size") if kind == "oft" else values.get("r")
    dropout = {"vera": "vera_dropout", "miss": "miss_dropout"}.get(kind, "lora_dropout")
    return replace(
        default,
        kind=kind,
        r=int(r or default.r),
        lora_alpha=round(values.get("lora_alpha") or values.get("alpha") or default.lora_alpha),
        lora_dropout=float(values.get(dropout) or 0.0),
        target_modules=tuple(targets),
        use_rslora=bool(values.get("use_rslora")),
        use_dora=bool(values.get("use_dora")),
        bias=str(values.get("bias", "none")) if kind == "lora" else "none",
        layers=", ".join(str(number) for number in sorted(numbers)),
        rank_pattern=_pattern(values.get("rank_pattern")),
        alpha_pattern=_pattern(values.get("alpha_pattern")),
        modules_to_save=tuple(values.get("modules_to_save") or ()),
        train_experts=fused[0],
        train_router=fused[1],
    )


def _pattern(values: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}={round(value)}" for name, value in (values or {}).items())


def _trained_weights(folder: Path, facts: ModelFacts) -> AdapterSettings:
    values = _read_json(folder / TRAINED_FACTS)
    settings = AdapterSettings(
        kind=str(values.get("kind")), n_last_layers=int(values.get("n_last_layers", 1))
    )
    if not settings.trains_base:
        raise _damaged(f"{TRAINED_FACTS} has kind '{settings.kind}'")
    wanted = {name: facts.shapes[name] for name in trained_names(facts.shapes, settings)}
    if file_shapes(folder / TRAINED_WEIGHTS) != wanted:
        named = {"base_model_name_or_path": values.get("architecture")}
        raise _mismatch(named, "its weights have other names or sizes than this base's")
    return settings


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(f"{path.name} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise _damaged(f"{path.name} holds no settings")
    return values


def _damaged(what: str) -> ModelError:
    return ModelError(
        f"The adapter is not whole: {what}.", "Copy or download it again.", "adapter_damaged"
    )


def _mismatch(values: Mapping[str, Any], what: str) -> ModelError:
    named = values.get("base_model_name_or_path")
    return ModelError(
        f"The adapter does not fit this base model: {what}.",
        f"Choose the base that it was trained on: {named}."
        if named
        else "Choose the base that it was trained on.",
        "adapter_mismatch",
    )


def _unsupported(why: str) -> ModelError:
    return ModelError(
        f"Training cannot go on from this adapter: {why}.",
        "Choose another adapter, or start a fresh one.",
        "adapter_unsupported",
    )
