"""Results of `bench rivals`: re-trained published architectures beside our own networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from sr_core.errors import CatalogueError
from sr_core.results.record import Count, Positive, Record, Runtime, Text


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
    runtimes: dict[Runtime, Text]
    """Names and versions."""
    library_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    device: Text
    """Profile whose estimates chose our networks."""
    crops_sha256: dict[str, str]
    """Scale -> checksum of the validation crops."""
    output: tuple[Count, Count]
    """Width and height of the frame; batch 1, fp32."""
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    drift: dict[str, Annotated[float, Field(gt=-1, allow_inf_nan=False)]]
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


def read_rival_bench(path: Path) -> RivalBench:
    """What `to_json` wrote; `CatalogueError` names the first thing that is wrong."""
    try:
        return RivalBench.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CatalogueError(
            f"{path.name} is damaged ({where}: {first['msg']}): restore it from the repository, "
            "or run `python -m sr_core bench rivals --store`."
        ) from None
    except OSError as error:
        raise CatalogueError(f"{path.name} cannot be read ({error}): restore it.") from None


def to_json(bench: RivalBench) -> str:
    """What `read_rival_bench` reads."""
    return bench.model_dump_json(indent=1) + "\n"
