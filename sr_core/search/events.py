"""What `search --events` prints: one JSON object per line, for the program that started it.

start   once: the settings, and what the numbers are measured on
trial   one per proposal, as soon as its result is stored; those of earlier runs come first
end     once, or
error   once, with the sentence that a person would have read
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sr_core.errors import SearchError
from sr_core.network.candidate import Family
from sr_core.network.colour import Colour
from sr_core.results.record import Finite, Natural, Record, Seconds, Sha256, Text, fault


class CropSet(Record):
    """The crops that all PSNR-Y and SSIM-Y of a study are measured on."""

    sha256: Sha256
    n: int = Field(ge=1)
    bicubic_psnr_y_db: Finite
    """Of the baseline: what a network has to beat to count in a hypervolume."""
    about: Text
    """What they show, in words."""


class Start(Record):
    """What is searched, and how. It is the first event."""

    event: Literal["start"] = "start"
    study: Text
    scale: int
    colour: Colour = "rgb"
    objective: Text
    """Device id, or `macs`."""
    unit: Literal["ms", "GMACs"]
    budget_ms: Seconds | None
    sampler: Text
    trials: Natural
    """How many there will be."""
    seed: int
    crops: CropSet
    reference_cost: Finite
    """From it on, nothing counts in a hypervolume."""
    command: Text
    """That repeats the search, with placeholders for local names."""
    finished_before: Natural
    """Trials of earlier runs of the same study; they follow as ordinary events."""

    @property
    def family(self) -> Family:
        """The networks that are searched."""
        return Family(self.scale, self.colour)


class Trial(Record):
    """One proposal and what it turned out to be."""

    event: Literal["trial"] = "trial"
    number: Natural
    """In the study; there are gaps where a worker died."""
    network: Text
    """Its notation, `x4c32_...`."""
    psnr_y_db: Finite
    ssim_y: Finite
    cost: Finite
    """In the unit of `Start`, for one 1280x720 frame."""
    feasible: bool
    """Within the budget, if there is one."""
    known: bool
    """Scored before, so it was not evaluated again."""
    proposal_s: Seconds
    evaluation_s: Seconds
    """0 if known."""
    trials: Natural
    """Finished so far, this one included."""
    evaluated: Natural
    """Networks evaluated so far."""
    hypervolume: Finite
    """Of all trials so far, in the unit times dB."""


class End(Record):
    """The end of a search that is complete or was stopped."""

    event: Literal["end"] = "end"
    trials: Natural
    evaluated: Natural
    hypervolume: Finite
    seconds: Seconds
    """Of this run."""


class Failure(Record):
    """An expected error. Nothing follows."""

    event: Literal["error"] = "error"
    message: Text


Event = Start | Trial | End | Failure
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def line(event: Event) -> str:
    """Return the event as one line of JSON, without a line break."""
    return event.model_dump_json()


def parse_event(text: str | bytes) -> Event:
    """Read what `line` wrote. `SearchError` names the first thing that is wrong."""
    try:
        return _EVENT.validate_json(text)
    except ValidationError as error:
        raise SearchError(
            f"This is no event of a search ({fault(error, whole='the line')})."
        ) from None
