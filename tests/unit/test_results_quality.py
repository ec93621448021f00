"""Which file is recommended: by what was measured, not by its name."""

from studio.results.quality import MeasuredFile, Quality, advice, read_quality, recommended
from studio.results.quality_chart import quality_chart


def measured(name: str, megabytes: float, kl: float, same: float, ratio: float) -> MeasuredFile:
    quality = Quality(
        type=name,
        mean_kl=kl,
        tail_kl=10 * kl,
        same_choice=same,
        perplexity=4.0 * ratio,
        reference_perplexity=4.0,
        n_places=1_000,
        rows="12 validation rows",
    )
    return MeasuredFile(size_bytes=int(megabytes * 1e6), quality=quality)


F16 = measured("F16", 100, 0.0, 1.0, 1.0)
Q8_0 = measured("Q8_0", 53, 1e-3, 0.995, 1.0005)
Q5_K_M = measured("Q5_K_M", 36, 1e-2, 0.981, 1.008)
Q4_K_M = measured("Q4_K_M", 31, 5e-2, 0.96, 1.03)


def test_smallest_file_that_is_hard_to_tell_from_f16_is_recommended() -> None:
    assert recommended([F16, Q8_0, Q5_K_M, Q4_K_M]) is Q5_K_M
    said = advice([F16, Q8_0, Q5_K_M, Q4_K_M])
    assert said.startswith("Recommended by measurement: Q5_K_M, the smallest file with at most 1%")
    assert "(here +0.80% and 98.1%, 1,000 places in 12 validation rows)" in said


def test_measurement_beats_the_name() -> None:
    good_q4 = measured("Q4_K_M", 31, 5e-3, 0.99, 0.999)
    assert recommended([Q8_0, Q5_K_M, good_q4]) is good_q4


def test_where_no_file_is_close_the_nearest_is_named() -> None:
    q2 = measured("Q2_K", 20, 0.9, 0.6, 1.8)
    assert recommended([Q4_K_M, q2]) is None
    assert "the nearest is Q4_K_M with 96.0%" in advice([Q4_K_M, q2])
    assert advice([]) == ""


def test_an_event_gives_the_same_quality_back() -> None:
    event = {"event": "quality", "time": 1.0, **Q8_0.quality.as_dict()}
    assert read_quality(event) == Q8_0.quality
    assert round(Q8_0.quality.perplexity_ratio, 6) == 1.0005


def test_chart_places_points_by_size_and_logarithm_and_marks_the_recommended() -> None:
    html = quality_chart([F16, Q8_0, Q5_K_M, Q4_K_M])
    # 31 MB at the left margin, 53 MB at the right; 0.05 of decades 0.001 to 0.1.
    assert '<i class="q-point" style="left:10.0%;top:15.1%"></i>' in html
    assert '<i class="q-point" style="left:90.0%;top:100.0%"></i>' in html
    assert '<i class="q-point best" style="left:28.2%;top:50.0%"></i>' in html
    assert html.count("q-line") == 3
    assert ">F16<" not in html
    assert "Q4_K_M 31 MB, KL 0.05" in html
    assert quality_chart([F16, Q8_0]) == ""
