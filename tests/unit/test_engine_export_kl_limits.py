"""Limits of divergence: one for each quantized type, ten times what is published."""

import pytest

from studio.engine.export.kl_limits import KL_LIMITS
from studio.models.gguf_types import EXPORT_TYPES, UNQUANTIZED


def test_every_quantized_type_has_a_limit() -> None:
    assert set(KL_LIMITS) == set(EXPORT_TYPES) - set(UNQUANTIZED)


def test_limits_are_ten_times_the_published_divergence() -> None:
    published = {"Q8_0": 0.001355, "Q4_K_M": 0.031273, "Q2_K": 0.445132, "IQ1_S": 2.254554}
    limits = {name: KL_LIMITS[name] / 10 for name in published}
    assert limits == pytest.approx(published, abs=1e-5)
