"""How a GGUF file is run: the bounds of its knobs, its cores, and what fits on a GPU."""

import os

import pytest

from studio.errors import ConfigError
from studio.jobs.llama_settings import AdapterUse, LlamaSettings, default_threads, layers_that_fit

GB = 10**9
SPARE = 768 * 2**20


@pytest.mark.parametrize(
    ("free", "layers"),
    [
        (0, 0),
        (SPARE, 0),
        (SPARE + GB // 10, 0),
        (SPARE + GB, 1),
        (SPARE + 10 * GB, 10),
        (SPARE + 33 * GB, 33),
        (800 * GB, 33),
    ],
)
def test_as_many_layers_go_to_the_gpu_as_fit(free: int, layers: int) -> None:
    """A file of 33 GB and 32 layers: a GB a layer, and one for what is in none."""
    assert layers_that_fit(33 * GB, 32, free) == layers


def test_threads_are_the_cores_of_this_process_or_what_openmp_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert default_threads() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert default_threads() == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert default_threads() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        (LlamaSettings(threads=-1), "Threads"),
        (LlamaSettings(gpu_layers=-2), "GPU layers"),
        (AdapterUse(scale=2.1), "Adapter strength"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(
    settings: LlamaSettings | AdapterUse, label: str
) -> None:
    with pytest.raises(ConfigError, match=f"{label} is .*; it must be") as caught:
        settings.check()
    assert caught.value.code == "sampling_out_of_bounds"


def test_an_adapter_that_is_off_has_no_strength() -> None:
    assert AdapterUse(on=False, scale=1.5).strength == 0.0
    assert AdapterUse(scale=1.5).strength == 1.5
