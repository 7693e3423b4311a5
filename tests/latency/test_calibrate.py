from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from sr_core.errors import MeasurementError
from sr_core.latency.calibrate import (
    CHANNEL_STEPS,
    FOLDS,
    Sample,
    Ties,
    best_channel_step,
    channel_ranges,
    fit_costs,
    held_out_errors,
    log_errors,
    mape_percent,
    spread_factor,
)
from sr_core.latency.profile import Costs, Kind
from sr_core.latency.work import TERMS, dense
from sr_core.network.candidate import DENSE, uniform
from sr_core.network.layers import ConvLayer, describe

Rng = np.random.Generator
TRUE: dict[Kind, Costs] = {
    "conv1x1": Costs(
        launch_ms=0.02, ms_per_gmac=8, ms_per_mpx=1.5, ms_per_mpx_in=0.2, ms_per_mpx_out=0.1
    ),
    "conv3x3": Costs(
        launch_ms=0.05, ms_per_gmac=5, ms_per_mpx=2.5, ms_per_mpx_in=0.3, ms_per_mpx_out=0.4
    ),
    "conv5x5": Costs(
        launch_ms=0.01, ms_per_gmac=4, ms_per_mpx=0.5, ms_per_mpx_in=0.6, ms_per_mpx_out=0.7
    ),
}
FROM_KERNEL: dict[int, Kind] = {1: "conv1x1", 3: "conv3x3", 5: "conv5x5"}


def conv(kernel: int, inputs: int, outputs: int, side: int) -> ConvLayer:
    """A dense convolution on side x side pixels."""
    return ConvLayer(
        f"cells.0.wide.{kernel}", "cell", kernel, inputs, outputs, inputs, outputs, side, side,
        DENSE, inputs * outputs * kernel**2,
    )  # fmt: skip


def true_ms(layers: list[ConvLayer], step: int = 1, costs: dict[Kind, Costs] = TRUE) -> float:
    return sum(
        getattr(costs[FROM_KERNEL[layer.kernel]], term) * times
        for layer, work in zip(layers, dense(step)(layers), strict=True)
        for term, times in zip(TERMS, work, strict=True)
    )


def samples(rng: Rng, n: int, *, step: int = 1, noise: float = 0.0) -> list[Sample]:
    """Random stacks of convolutions, timed on a device that costs `TRUE`."""
    made: list[Sample] = []
    for _ in range(n):
        side = int(rng.integers(20, 600))
        layers = [
            conv(
                int(rng.choice([1, 3, 5])), int(rng.integers(4, 65)), int(rng.integers(4, 65)), side
            )
            for _ in range(rng.integers(1, 6))
        ]
        made.append(Sample(layers, true_ms(layers, step) * float(np.exp(rng.normal(0, noise)))))
    return made


def blocks(rng: Rng, n: int, costs: dict[Kind, Costs]) -> list[Sample]:
    """Wide blocks alone, as in the published table: three layers each, in = out."""
    made: list[Sample] = []
    for _ in range(n):
        channels, expand, linear = (int(rng.integers(8, high)) for high in (33, 193, 29))
        side = int(rng.choice([200, 400]))
        layers = [
            conv(1, channels, expand, side),
            conv(1, expand, linear, side),
            conv(3, linear, channels, side),
        ]
        made.append(Sample(layers, true_ms(layers, costs=costs)))
    return made


def table(costs: dict[Kind, Costs]) -> np.ndarray:
    return np.array([[getattr(costs[name], term) for term in TERMS] for name in sorted(costs)])


def test_the_fit_recovers_the_coefficients(rng: Rng) -> None:
    fitted = fit_costs(samples(rng, 80), dense(1))
    assert table(fitted) == pytest.approx(table(TRUE), rel=1e-3)


def test_noise_moves_the_predictions_little(rng: Rng) -> None:
    fitted = fit_costs(samples(rng, 150, noise=0.05), dense(1))
    errors = log_errors(samples(rng, 200), fitted, dense(1))
    assert 0 < np.abs(errors).mean() < 0.03


def test_a_slow_and_a_fast_network_count_alike() -> None:
    """Two networks that no coefficients explain, one 1000 times as long: both miss by as much."""
    small, large = [conv(3, 8, 8, 30)], [conv(3, 8, 8, 949)]  # the same but for 1000 x the pixels
    twice = [Sample(small, 1.0), Sample(small, 2.0), Sample(large, 1000.0), Sample(large, 2000.0)]
    errors = log_errors(twice, fit_costs(twice, dense(1)), dense(1))
    assert errors[:2] == pytest.approx(errors[2:], abs=0.02)
    assert errors[0] > 0 > errors[1]


@pytest.mark.parametrize("seed", range(20))
def test_no_coefficient_is_negative(seed: int) -> None:
    """Times that have nothing to do with the work would give negative ones by least squares."""
    rng = np.random.default_rng(seed)
    unrelated = [Sample(one.layers, float(rng.uniform(0.1, 10))) for one in samples(rng, 25)]
    for ties in get_args(Ties):
        fitted = table(fit_costs(unrelated, dense(4), ties))
        assert (fitted >= 0).all()
        assert fitted.max() > 0


def test_a_kind_without_samples_costs_nothing(rng: Rng) -> None:
    fitted = fit_costs(blocks(rng, 30, TRUE), dense(1))
    assert fitted["conv5x5"] == Costs()


def test_tied_constants_are_equal_and_recovered(rng: Rng) -> None:
    constants = {"launch_ms": 0.4, "ms_per_mpx": 4.8}
    costs: dict[Kind, Costs] = {
        "conv1x1": Costs(**constants, ms_per_gmac=8, ms_per_mpx_in=0.2),
        "conv3x3": Costs(**constants, ms_per_gmac=11, ms_per_mpx_in=0.3),
        "conv5x5": Costs(**constants),
    }
    fitted = fit_costs(blocks(rng, 60, costs), dense(1), "constants")
    for one in fitted.values():
        assert one.launch_ms == pytest.approx(0.4, rel=0.01)
        assert one.ms_per_mpx == pytest.approx(4.8, rel=0.01)
    assert fitted["conv1x1"].ms_per_gmac == pytest.approx(8, rel=0.01)
    assert fitted["conv3x3"].ms_per_gmac == pytest.approx(11, rel=0.01)


@pytest.mark.parametrize("step", CHANNEL_STEPS)
def test_the_channel_step_is_recovered(rng: Rng, step: int) -> None:
    assert best_channel_step(samples(rng, 60, step=step, noise=0.02)) == step


def test_the_smaller_channel_step_if_all_are_equal(rng: Rng) -> None:
    even = [
        Sample(layers, true_ms(layers))
        for layers in (
            [conv(3, int(rng.choice([32, 64])), int(rng.choice([32, 64])), int(side))]
            for side in rng.integers(50, 500, 40)
        )
    ]
    assert best_channel_step(even) == 1


def test_held_out_errors_are_of_a_fit_that_did_not_see_the_sample(rng: Rng) -> None:
    known = samples(rng, 40)
    odd = Sample(known[7].layers, known[7].ms * 1000)
    without_its_fold = [one for i, one in enumerate(known) if i % FOLDS != 7 % FOLDS]
    expected = log_errors([odd], fit_costs(without_its_fold, dense(1)), dense(1))
    errors = held_out_errors([*known[:7], odd, *known[8:]], dense(1))
    assert errors.shape == (40,)
    assert errors[7] == pytest.approx(expected[0])
    assert errors[7] == pytest.approx(-np.log(1000), abs=1e-3)
    same_fold = errors[7 % FOLDS :: FOLDS]
    assert np.abs(np.delete(same_fold, 7 // FOLDS)).max() < 1e-3


@pytest.mark.parametrize("n", [0, 1, 9])
def test_too_few_samples_are_refused(rng: Rng, n: int) -> None:
    message = rf"^Only {n} timings: a latency model needs at least 10\.$"
    with pytest.raises(MeasurementError, match=message):
        held_out_errors(samples(rng, n), dense(1))


def test_mean_percentage_error() -> None:
    assert mape_percent(np.log([1.1, 0.9, 1.0, 2.0])) == pytest.approx((10 + 10 + 0 + 100) / 4)


@pytest.mark.parametrize(
    ("n", "confidence", "rank"),
    [(19, 0.9, 18), (20, 0.9, 19), (9, 0.9, 9), (5, 0.9, 5), (99, 0.5, 50), (1, 0.9, 1)],
)
def test_the_spread_is_the_conformal_quantile(n: int, confidence: float, rank: int) -> None:
    errors = np.arange(1, n + 1) / 100 * np.where(np.arange(n) % 2, -1, 1)
    shuffled = np.random.default_rng(0).permutation(errors)
    assert spread_factor(shuffled, confidence) == pytest.approx(np.exp(rank / 100))


@pytest.mark.parametrize("confidence", [0.8, 0.9])
def test_the_spread_covers_what_it_claims(rng: Rng, confidence: float) -> None:
    """Over many calibrations, as many new errors are inside as the conformal rank promises."""
    shares: list[float] = []
    for _ in range(500):
        old, new = rng.standard_t(4, 60), rng.standard_t(4, 400)  # heavier tails than normal
        shares.append(float((np.abs(new) <= np.log(spread_factor(old, confidence))).mean()))
    promised = np.ceil(61 * confidence) / 61
    assert np.mean(shares) == pytest.approx(promised, abs=0.01)


def test_the_interval_of_a_fit_covers_unseen_networks(rng: Rng) -> None:
    """All of it: fit 60 noisy networks, take the spread of the folds, check on 500 new ones."""
    shares: list[float] = []
    for _ in range(10):
        seen, new = samples(rng, 60, noise=0.08), samples(rng, 500, noise=0.08)
        factor = spread_factor(held_out_errors(seen, dense(1)), 0.9)
        inside = np.abs(log_errors(new, fit_costs(seen, dense(1)), dense(1))) <= np.log(factor)
        shares.append(float(inside.mean()))
    assert 0.87 < np.mean(shares) < 0.97


def test_channel_ranges_per_kind() -> None:
    seen = [
        Sample(describe(uniform(scale=scale, width=width, blocks=("wide",)), 4, 4), 1.0)
        for scale, width in ((4, 16), (2, 32))
    ]
    assert channel_ranges(seen) == {
        "conv1x1": ((16, 192), (12, 192)),
        "conv3x3": ((3, 32), (12, 48)),
        "conv5x5": ((3, 3), (12, 48)),
    }
