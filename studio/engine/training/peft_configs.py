"""AdapterSettings → peft's config of the kind. Names and values are peft's where it has them."""

from typing import Any

from peft import (
    AdaLoraConfig,
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    PromptTuningInit,
    VeraConfig,
)

from studio.models.facts import ModelFacts
from studio.training.adapter import PROMPTS, AdapterSettings
from studio.training.counts import FEEDFORWARD, adalora_start_rank, parameters_of_experts

# How peft calls "the biases of the target layers" by kind.
_BIAS_ONLY = {"lora": "lora_only", "adalora": "lora_only", "vera": "vera_only"}
_BIAS_ONLY |= {"oft": "oft_only", "miss": "MiSS_only"}
# Shares of the run: AdaLoRA first learns at full rank, then takes rank, then learns on.
_WARM_UP, _LEARN_ON = 10, 5


def peft_config(
    settings: AdapterSettings, facts: ModelFacts, seed: int = 0, n_steps: int = 1
) -> PeftConfig:
    """peft's config; without `target_modules` in `settings` all linear layers are targets."""
    if settings.kind in PROMPTS:
        return _prompt_config(settings)
    shared: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "target_modules": sorted(settings.target_modules or facts.linear_names),
        "modules_to_save": list(settings.modules_to_save) or None,
    }
    if settings.kind == "ia3":
        return IA3Config(**shared, feedforward_modules=FEEDFORWARD)
    shared["layers_to_transform"] = list(settings.layer_numbers()) or None
    if settings.kind in ("loha", "lokr"):
        config = LoHaConfig if settings.kind == "loha" else LoKrConfig
        return config(**shared, r=settings.r, alpha=settings.lora_alpha, **_patterns(settings))
    if settings.bias != "none":
        whole = settings.bias == "all"
        shared["bias"] = "all" if whole else _BIAS_ONLY[settings.kind]
    match settings.kind:
        case "lora":
            return _lora_config(settings, facts, shared)
        case "adalora":
            return _adalora_config(settings, shared, n_steps)
        case "vera":
            dropout = settings.lora_dropout
            return VeraConfig(
                **shared, r=settings.r, vera_dropout=dropout, projection_prng_key=seed
            )
        case "oft":
            return OFTConfig(**shared, r=0, oft_block_size=settings.r)
        case _:
            return MissConfig(**shared, r=settings.r, miss_dropout=settings.lora_dropout)


def _lora_config(
    settings: AdapterSettings, facts: ModelFacts, shared: dict[str, Any]
) -> LoraConfig:
    # The other start values are the studio's own (`starts.py`): peft knows no Conv1D for some, and
    # rounds others to the base's number format.
    gaussian = settings.init_lora_weights == "gaussian"
    return LoraConfig(
        **shared,
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        init_lora_weights="gaussian" if gaussian else True,
        target_parameters=parameters_of_experts(settings, facts) or None,
        **_patterns(settings),
    )


def _adalora_config(
    settings: AdapterSettings, shared: dict[str, Any], n_steps: int
) -> AdaLoraConfig:
    return AdaLoraConfig(
        **shared,
        init_r=adalora_start_rank(settings.r),
        target_r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        total_step=n_steps,
        tinit=n_steps // _WARM_UP,
        tfinal=n_steps // _LEARN_ON,
    )


def _patterns(settings: AdapterSettings) -> dict[str, Any]:
    return {"rank_pattern": settings.ranks(), "alpha_pattern": settings.alphas()}


def _prompt_config(settings: AdapterSettings) -> PeftConfig:
    shared: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": settings.n_virtual_tokens,
    }
    if settings.kind == "prompt":
        # Real tokens' embeddings: random ones lie far outside of what the model has ever seen.
        return PromptTuningConfig(**shared, prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB)
    return (
        PrefixTuningConfig(**shared) if settings.kind == "prefix" else PromptEncoderConfig(**shared)
    )
