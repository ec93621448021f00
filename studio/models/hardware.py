"""What this computer offers: cores, memory, GPU, and which number format it is fast at."""

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One NVIDIA GPU; memory in bytes, `capability` as in CUDA's documentation."""

    name: str
    driver: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A snapshot; memory in bytes. `cpu_bf16`: the CPU multiplies BF16 in hardware."""

    n_cores: int
    ram_total_bytes: int
    ram_used_bytes: int
    cpu_percent: float
    cpu_bf16: bool
    gpu: Gpu | None

    @property
    def device(self) -> str:
        return "cuda" if self.gpu else "cpu"

    def resolve_precision(self, precision: str) -> str:
        """ "fp32" or "bf16": `auto` takes BF16 where it is computed in hardware."""
        if precision != "auto":
            return precision
        fast = self.gpu.capability >= (8, 0) if self.gpu else self.cpu_bf16
        return "bf16" if fast else "fp32"


def free_bytes(hardware: Hardware) -> int:
    """Memory that is free: of the GPU where there is one, as there models lie."""
    if hardware.gpu:
        return hardware.gpu.free_bytes
    return hardware.ram_total_bytes - hardware.ram_used_bytes


def look() -> Hardware:
    """The hardware as it is now; cheap enough for a meter that asks every second."""
    memory = psutil.virtual_memory()
    return Hardware(
        n_cores=psutil.cpu_count() or 1,
        ram_total_bytes=memory.total,
        ram_used_bytes=memory.total - memory.available,
        cpu_percent=psutil.cpu_percent(),
        cpu_bf16=_cpu_bf16(),
        gpu=_gpu(),
    )


@cache
def cpu_name() -> str:
    """The processor's model, as the system names it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


@cache
def _cpu_bf16() -> bool:
    # Only Linux tells without a compiled program; elsewhere FP32 is the safe answer.
    flags = _cpuinfo("flags")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _cpuinfo(name: str) -> str:
    """What Linux says of the first core under `name`; "" elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return ""
    lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


@cache
def _nvml() -> bool:
    import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return bool(pynvml.nvmlDeviceGetCount())


def _gpu() -> Gpu | None:
    if not _nvml():
        return None
    import pynvml  # noqa: PLC0415

    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        name=str(pynvml.nvmlDeviceGetName(handle)),
        driver=str(pynvml.nvmlSystemGetDriverVersion()),
        total_bytes=int(memory.total),
        free_bytes=int(memory.free),
        capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
    )
