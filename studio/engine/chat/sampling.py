"""The next token from the model's logits, as the Sampling knobs say; torch's part of it."""

import torch

from studio.errors import ModelError
from studio.jobs.sampling import Sampling


def new_generator(sampling: Sampling) -> torch.Generator:
    """A random source of its own for one answer, so that answers do not disturb each other."""
    return torch.Generator("cpu").manual_seed(sampling.seed)


def draw(
    logits_V: torch.Tensor, seen_ids: set[int], sampling: Sampling, generator: torch.Generator
) -> int:
    """The next token's id. `seen_ids`: tokens of prompt and answer so far, for the penalty.

    Order: repetition penalty, temperature, top k, top p, as transformers has it. On the CPU in
    FP32, so that a seed gives the same text on every device.

    Source: penalty, Keskar et al. 2019 (arXiv 1909.05858) section 4.1; top p, Holtzman et al.
    2020 (arXiv 1904.09751) section 3.1.
    """
    scores_V = logits_V.detach().to("cpu", torch.float32, copy=True)
    if bool(scores_V.isnan().any()):
        raise ModelError(
            "The model's output is not a number (NaN).",
            "Choose an earlier checkpoint or train again with a lower learning rate.",
            "model_nan",
        )
    if sampling.repetition_penalty != 1.0 and seen_ids:
        _penalize(scores_V, seen_ids, sampling.repetition_penalty)
    if sampling.temperature == 0.0:
        return int(scores_V.argmax())
    scores_V /= sampling.temperature
    if 0 < sampling.top_k < scores_V.numel():
        smallest = scores_V.topk(sampling.top_k).values[-1]
        scores_V[scores_V < smallest] = -torch.inf
    if sampling.top_p < 1.0:
        _cut_to_nucleus(scores_V, sampling.top_p)
    return int(torch.multinomial(scores_V.softmax(-1), 1, generator=generator))


def _penalize(scores_V: torch.Tensor, seen_ids: set[int], penalty: float) -> None:
    ids = torch.tensor(sorted(seen_ids))
    seen = scores_V[ids]
    scores_V[ids] = torch.where(seen > 0, seen / penalty, seen * penalty)


def _cut_to_nucleus(scores_V: torch.Tensor, top_p: float) -> None:
    ordered, order = scores_V.sort(descending=True)
    probabilities = ordered.softmax(-1)
    # The token that crosses top_p stays; so the likeliest always does.
    before = probabilities.cumsum(-1) - probabilities
    scores_V[order[before >= top_p]] = -torch.inf
