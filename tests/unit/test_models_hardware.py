"""The number format follows the hardware."""

import pytest

from studio.models.hardware import Gpu, Hardware, look


def machine(cpu_bf16: bool = False, capability: tuple[int, int] | None = None) -> Hardware:
    gpu = None
    if capability:
        gpu = Gpu(name="g", driver="1", total_bytes=8, free_bytes=8, capability=capability)
    return Hardware(
        n_cores=2,
        ram_total_bytes=8,
        ram_used_bytes=4,
        cpu_percent=0.0,
        cpu_bf16=cpu_bf16,
        gpu=gpu,
    )


@pytest.mark.parametrize(
    ("hardware", "wanted"),
    [
        (machine(), "fp32"),
        (machine(cpu_bf16=True), "bf16"),
        (machine(capability=(8, 0)), "bf16"),
        (machine(capability=(9, 0)), "bf16"),
        (machine(cpu_bf16=True, capability=(7, 5)), "fp32"),
    ],
)
def test_auto_takes_bf16_where_it_is_computed_in_hardware(hardware, wanted):
    assert hardware.resolve_precision("auto") == wanted
    assert hardware.device == ("cuda" if hardware.gpu else "cpu")


@pytest.mark.parametrize("chosen", ["fp32", "bf16"])
def test_a_chosen_format_is_kept(chosen):
    assert machine().resolve_precision(chosen) == chosen


def test_a_look_is_plausible():
    now = look()
    assert 0 < now.ram_used_bytes < now.ram_total_bytes
    assert now.n_cores >= 1
