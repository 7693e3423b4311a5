"""Results of `bench ablation`: fine-tuned networks of several families, measured side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from pydantic import Field

from sr_core.results.record import (
    Colour,
    Count,
    Date,
    Drift,
    Positive,
    Record,
    Runtime,
    Sha256,
    Text,
)

Question = Literal["schemes", "ratios"]
"""`schemes`: does fine-grained pruning beat the best channel-pruned rival at equal latency?
`ratios`: do the ratios of stage 3 beat one ratio everywhere at equal latency?"""
QUESTIONS: tuple[Question, ...] = get_args(Question)
TimedRuntime = Literal["sparse", "onnx", "onnx, aligned"]
"""Our engine; ONNX Runtime; and there with all widths filled up to multiples of 16."""


class Time(Record):
    """Time of one frame of one network."""

    runtime: TimedRuntime
    median_ms: Positive
    p10_ms: Positive
    p90_ms: Positive
    n: Count


class NetworkTimes(Record):
    """Times of a network, whatever its weights."""

    network: Text
    params_kept: Count
    macs_g: Positive
    """10^9 multiply-accumulates of a 1280x720 frame, kept weights only."""
    times: tuple[Time, ...] = Field(min_length=1)


class FineTuningRun(Record):
    """One fine-tuning run."""

    label: Text
    """Its family in this comparison."""
    network: Text
    weights_sha256: Sha256
    seed: int
    steps: Count
    """Of all phases after the supernet."""
    reproduction: Text
    once_for_all_db: Positive
    """PSNR-Y on the validation crops with the supernet's weights."""
    fine_tuned_db: Positive
    """The same with its own."""
    psnr_y_db: dict[str, Positive]
    """On the benchmarks, fine-tuned."""
    ssim_y: dict[str, float]


class Ablation(Record):
    """One question of one family of networks and budget, all of it measured in one call."""

    question: Question
    scale: Count
    colour: Colour = "rgb"
    budget_ms: Positive | None = None
    """`--budget-ms` of all runs. None where they have none in common."""
    processor: Text
    cores: Count
    """At the disposal of the process (`machine.cores`)."""
    threads: Count
    runtimes: dict[Runtime, Text]
    library_sha256: Sha256
    supernet_sha256: Sha256
    """That all runs started from."""
    validation_crops_sha256: Sha256
    image_sets: dict[str, Sha256]
    output: tuple[Count, Count]
    """Width and height of the frame; batch 1, fp32."""
    date: Date
    drift: Drift
    """Change of the first network's median between the two halves of the sitting."""
    timed: tuple[NetworkTimes, ...] = Field(min_length=1)
    trained: tuple[FineTuningRun, ...] = Field(min_length=1)

    @property
    def labels(self) -> list[str]:
        """The families, in the order of the command."""
        return list(dict.fromkeys(run.label for run in self.trained))

    def of(self, label: str) -> list[FineTuningRun]:
        """Return the runs of a family."""
        return [run for run in self.trained if run.label == label]

    def median_ms(self, network: str, runtime: TimedRuntime) -> float | None:
        """Return the median time of a network, None where it was not timed."""
        return next(
            (
                time.median_ms
                for row in self.timed
                if row.network == network
                for time in row.times
                if time.runtime == runtime
            ),
            None,
        )


def merge(before: Iterable[Ablation], new: Ablation) -> tuple[Ablation, ...]:
    """Put `new` in the place of an older answer to the same question: same family, same budget."""

    def key(one: Ablation) -> tuple[str, int, bool, float]:
        return one.question, -one.scale, one.colour != "rgb", one.budget_ms or 0

    others = [old for old in before if key(old) != key(new)]
    return tuple(sorted([*others, new], key=key))
