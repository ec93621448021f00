"""What a run will hold in memory at its peak, before any weight is read: seven parts in bytes.

In: facts, settings, hardware. Out: MemoryParts. The peak is the end of a forward pass, where
activations and logits are at their most, or the optimizer's step, where gradients are whole, or the
drawing of GRPO's answers.
"""

from dataclasses import asdict, dataclass
from math import prod

from studio.models.facts import ModelFacts
from studio.models.hardware import Hardware
from studio.models.memory import block_activations, layer_of, logits_bytes, weights_bytes
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.counts import n_trainable, targets
from studio.training.methods import PAIRS
from studio.training.whole_weights import trained_names

# A worker with its libraries before any model: 417 MB measured on Linux with torch 2.13, the rest
# assumed for what a run adds. The other two are assumptions, not measured yet.
LIBRARIES_BYTES = 460_000_000
# A CPU's allocator leaves holes between what is kept and what is passing through: by so much more
# is taken than lives. A fit to 13 runs of `tests/benchmarks/memory.py`; none is known for GPUs.
HOLES = 1.3
BITSANDBYTES_BYTES = 40_000_000
GPU_BYTES = 100_000_000
# Most tokens of a pass on a CPU where the settings say nothing.
CPU_TOKENS = 1024
# Bytes of state a trained number. Adam keeps two moments, Lion one; in 8 bits with a scale in FP32
# a block of 256 numbers (Dettmers et al. 2021, arXiv 2110.02861). Adafactor keeps rows and columns.
_STATE = {
    "adamw_torch": 8.0,
    "paged_adamw_32bit": 8.0,
    "adamw_8bit": 2 + 8 / 256,
    "paged_adamw_8bit": 2 + 8 / 256,
    "lion_32bit": 4.0,
    "lion_8bit": 1 + 4 / 256,
    "adafactor": 0.05,
    "sgd": 0.0,
}
_FP32 = 4


@dataclass(frozen=True, kw_only=True)
class MemoryParts:
    """Bytes at the peak; `device` is "cuda" (GPU memory) or "cpu" (RAM)."""

    device: str
    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int

    def parts(self) -> dict[str, int]:
        """{part: bytes}, in the order of a run."""
        return {name: value for name, value in asdict(self).items() if name != "device"}

    @property
    def total_bytes(self) -> int:
        return sum(self.parts().values())


def predict(facts: ModelFacts, config: RunConfig, hardware: Hardware) -> MemoryParts:
    """The peak of a run of `config`, with every row as long as it may be and all of it labelled.

    Raises: ConfigError where a pattern of the adapter cannot be read.
    """
    device, settings = hardware.device, config.adapter
    precision = hardware.resolve_precision(config.training.precision)
    n_tokens, n_passes = pass_tokens(config, device)
    n_trained = n_trainable(settings, facts)
    weights = _weights(facts, config, precision)
    adapter = 0 if settings.trains_base else _FP32 * n_trained
    optimizer = int(_STATE[config.training.optim] * n_trained)
    gradients = _FP32 * n_trained
    holes = 1.0 if device == "cuda" else HOLES
    activations = int(_activations(facts, config, precision, device, n_tokens) * holes)
    logits = int(logits_bytes(facts, n_tokens, precision) * holes)
    drawn = tuple(int(part * holes) for part in _drawing(facts, config))
    if sum(drawn) > gradients + activations + logits:
        gradients, (activations, logits) = 0, drawn
    elif n_passes == 1 and gradients > activations + logits:
        activations = logits = 0  # the optimizer's step is the peak
    elif n_passes == 1:
        # In the first step they come while the optimizer has no state yet; later they are gone
        # when the activations are at their most.
        gradients = max(gradients - optimizer, 0)
    return MemoryParts(
        device=device,
        weights=weights,
        adapter=adapter,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        logits=logits,
        overhead=_overhead(config, device),
    )


def pass_tokens(config: RunConfig, device: str) -> tuple[int, int]:
    """Tokens of the largest pass, and the passes of a step, when every row is as long as may be.

    The rows of GRPO are answers behind their prompts.
    """
    training = config.training
    row = training.max_length * (2 if config.method in PAIRS else 1)
    budget = training.max_tokens_per_pass or (0 if device == "cuda" else CPU_TOKENS)
    n_rows = training.per_device_train_batch_size
    if budget:
        n_rows = min(n_rows, max(budget // row, 1))
    n_of_step = training.effective_batch_size
    if config.method == "grpo":
        n_of_step *= config.grpo.num_generations
    return n_rows * row, -(-n_of_step // n_rows)


def _weights(facts: ModelFacts, config: RunConfig, precision: str) -> int:
    """The base in memory; twice what is trained where a method compares with the base."""
    settings = config.adapter
    if not settings.trains_base:
        return weights_bytes(facts, precision, settings.quantization, settings.double_quantization)
    trained = set(trained_names(facts.shapes, settings))
    in_full = sum(prod(facts.shapes[name]) for name in trained)
    copies = 2 if config.method in ("dpo", "kto", "grpo") else 1
    rest = facts.n_parameters - in_full
    # Embeddings that stay are FP32 in either precision, and counted with the rest here.
    return in_full * _FP32 * copies + rest * (2 if precision == "bf16" else _FP32)


def _activations(
    facts: ModelFacts, config: RunConfig, precision: str, device: str, n_tokens: int
) -> int:
    settings = config.adapter
    layer = layer_of(facts)
    inputs = _inputs_kept(facts, settings)
    length = min(config.training.max_length, n_tokens)
    # A layer in 8 bits answers in the precision that it is asked in: the norms', FP32.
    kept_in = "fp32" if settings.quantization == "int8" else precision
    block = block_activations(
        layer, kept_in, length, device, inputs, trains_norms=settings.kind == "full"
    )
    n_blocks = _blocks_with_gradients(facts, settings)
    if config.training.gradient_checkpointing:
        # Every block keeps its input, in FP32; one at a time is computed anew.
        kept = n_blocks * layer.hidden * _FP32 + block
    else:
        kept = n_blocks * block
    return n_tokens * kept


def _drawing(facts: ModelFacts, config: RunConfig) -> tuple[int, int]:
    """While GRPO draws all answers of a step at once: keys and values of every token, in FP32 under
    autocast, too, and scores of the next ones; bytes. Other methods draw none."""
    if config.method != "grpo":
        return 0, 0
    n_answers = config.training.effective_batch_size * config.grpo.num_generations
    n_tokens = n_answers * config.training.max_length
    cache = n_tokens * facts.n_layers * 2 * layer_of(facts).key * _FP32
    # Logits, divided by the temperature, their softmax, and its sums in 64 bit.
    return cache, n_answers * facts.vocab_size * (3 * _FP32 + 8)


def _inputs_kept(facts: ModelFacts, settings: AdapterSettings) -> frozenset[str]:
    """Kinds of linear layers that keep their input: their weight or adapter is trained, or they
    are in 8 bits (bitsandbytes keeps it whether or not the weight learns)."""
    if settings.trains_base or settings.quantization == "int8":
        return frozenset(facts.linear_names)
    return frozenset(target.kind for target in targets(settings, facts))


def _blocks_with_gradients(facts: ModelFacts, settings: AdapterSettings) -> int:
    """Nothing is kept below the first block in which something is trained."""
    if settings.kind == "last_layers":
        return min(settings.n_last_layers, facts.n_layers)
    numbers = settings.layer_numbers() if not settings.trains_base else ()
    return facts.n_layers - min(numbers, default=0)


def _overhead(config: RunConfig, device: str) -> int:
    if device == "cuda":
        return GPU_BYTES
    return LIBRARIES_BYTES + (BITSANDBYTES_BYTES if config.needs_bitsandbytes else 0)
