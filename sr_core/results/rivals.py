"""Results of `bench rivals`: re-trained published architectures beside our own networks."""

from __future__ import annotations

from pydantic import Field

from sr_core.results.record import Count, Date, Drift, Positive, Record, Runtime, Sha256, Text


class RivalRow(Record):
    """Time of one frame of one network in one runtime."""

    rival: Text
    """Id of the rival."""
    network: Text
    """The rival itself; or the text or name of our network that was chosen to match it."""
    model_id: Text
    """Of the network with its weights."""
    scale: Count
    threads: Count
    runtime: Runtime
    psnr_y_db: Positive
    """On the validation crops, in fp32; by it our network was chosen."""
    bsd100_psnr_y_db: Positive | None
    """On BSD100, for reporting only; None: not measured."""
    params: Count
    """Kept weights and biases."""
    macs_g: Positive
    """10^9 multiply-accumulates of a 1280x720 frame, kept weights only."""
    median_ms: Positive
    p10_ms: Positive
    p90_ms: Positive
    n: Count
    """Timed runs."""
    speed_up: Positive
    """Times as fast as the rival in ONNX Runtime: ratio of medians."""


class RivalBench(Record):
    """All of one run of `bench rivals`."""

    processor: Text
    cores: Count
    """At the disposal of the process (`machine.cores`)."""
    runtimes: dict[Runtime, Text]
    """Names and versions."""
    library_sha256: Sha256
    device: Text
    """Profile whose estimates chose our networks."""
    crops_sha256: dict[str, str]
    """Scale -> checksum of the validation crops."""
    output: tuple[Count, Count]
    """Width and height of the frame; batch 1, fp32."""
    date: Date
    drift: dict[str, Drift]
    """Sitting ("x4, 2 threads") -> change of the first rival's median between its halves."""
    rival_steps: dict[str, Count]
    """Rival's id -> steps of its training, from scratch."""
    supernet_steps: dict[str, Count]
    """"x4" -> steps of the supernet's training, whose weights our networks have or start from."""
    fine_tuning_steps: dict[str, Count]
    """Name of our final model -> steps of its own, after the supernet's."""
    unmatched: tuple[Text, ...]
    """Rivals that none of our networks reaches in PSNR."""
    rows: tuple[RivalRow, ...] = Field(min_length=1)
