"""Limits of divergence: one for each quantized type, read off between published neighbours."""

import pytest

from studio.engine.export.kl_limits import KL_LIMITS
from studio.models.gguf_types import EXPORT_TYPES, UNQUANTIZED


def test_every_quantized_type_has_a_limit() -> None:
    assert set(KL_LIMITS) == set(EXPORT_TYPES) - set(UNQUANTIZED)


def test_published_types_have_ten_times_the_published_divergence() -> None:
    published = {"Q8_0": 0.001355, "Q4_K_M": 0.031273, "Q2_K": 0.445132}
    limits = {name: KL_LIMITS[name] / 10 for name in published}
    assert limits == pytest.approx(published, abs=1e-5)


def test_other_types_lie_between_their_neighbours() -> None:
    for larger, between, smaller in (
        ("Q6_K", "Q5_1", "Q5_K_M"),
        ("Q5_K_M", "Q4_1", "Q4_K_M"),
        ("Q4_0", "IQ4_XS", "Q3_K_M"),
        ("Q3_K_M", "IQ3_S", "Q2_K"),
    ):
        assert KL_LIMITS[larger] < KL_LIMITS[between] < KL_LIMITS[smaller]
