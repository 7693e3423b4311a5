"""What the page looks at (network, device, frame size, ...), and its form as a link.

The link is a short query string; whoever edits it gets the defaults and a sentence, not an error
page. Pure functions, no Gradio.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args
from urllib.parse import urlencode

from sr_core.catalogue.store import Catalogue
from sr_core.errors import LatencyError
from sr_core.latency.profile import DeviceProfile
from sr_core.network.candidate import Candidate, Family
from sr_core.network.checks import brief, listing
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.layers import OUTPUT_SIZE
from sr_core.network.notation import to_text

Axis = Literal["latency", "macs", "params"]
Metric = Literal["psnr_y_db", "ssim_y", "psnr_y_set5", "psnr_y_set14", "psnr_y_bsd100"]
SIZES: tuple[tuple[int, int], ...] = ((640, 360), OUTPUT_SIZE, (1920, 1080), (3840, 2160))
MAX_PICKS = 4
MAX_LINK = 2000
"""Characters of a query string that are read at all."""
DEFAULT_BUDGET_MS = 33.3
"""30 frames a second."""


@dataclass(frozen=True)
class View:
    """Target and axes, common to all tabs. Always valid for the catalogue it was made with."""

    scale: int
    device: str
    size: tuple[int, int] = OUTPUT_SIZE
    threads: int | None = None
    share: float | None = None
    """Assumed share of skipped MACs that saves time; None: the profile's default."""
    budget_ms: float | None = DEFAULT_BUDGET_MS
    axis: Axis = "latency"
    metric: Metric = "psnr_y_db"
    colour: Colour = "rgb"

    @property
    def family(self) -> Family:
        """The networks that the page shows."""
        return Family(self.scale, self.colour)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for the layer table, which sends them back with every question."""
        return {
            "scale": self.scale,
            "colour": self.colour,
            "device": self.device,
            "size": size_text(self.size),
            "threads": self.threads,
            "share": self.share,
        }


@dataclass(frozen=True)
class Pick:
    """A network to compare."""

    candidate: Candidate
    final: str = ""
    """Name of the final model that has its weights; empty: the supernet has them."""

    @property
    def text(self) -> str:
        """Text that `pick` reads."""
        return self.final or to_text(self.candidate)


@dataclass(frozen=True)
class Link:
    """Everything a link restores."""

    view: View
    current: Candidate
    picks: tuple[Pick, ...] = ()
    tab: str = "explore"


def add_picks(link: Link, picks: Sequence[Pick]) -> Link:
    """Return `link` with more networks to compare. Raises `LatencyError` if they are too many."""
    all_picks = tuple(dict.fromkeys((*link.picks, *picks)))
    if len(all_picks) > MAX_PICKS:
        raise LatencyError(
            f"Compare holds {len(link.picks)} networks already, at most {MAX_PICKS}: remove "
            "one there first."
        )
    return replace(link, picks=all_picks)


def size_text(size: tuple[int, int]) -> str:
    """Return `1280x720` for (1280, 720)."""
    return f"{size[0]}x{size[1]}"


def make_view(
    catalogue: Catalogue,
    *,
    scale: object,
    colour: object = "rgb",
    device: object = None,
    size: object = None,
    threads: object = None,
    share: object = None,
    budget_ms: object = None,
    axis: object = "latency",
    metric: object = "psnr_y_db",
) -> View:
    """Make a view of what a browser sent: numbers, texts or None.

    A thread count that the device does not have falls to its default, since changing the device
    changes the choices. Raises `UpFrontError` for anything else that is not on offer.
    """
    family = _family(catalogue, scale, colour)
    profile = catalogue.device(None if device is None else str(device))
    sizes = {size_text(one): one for one in SIZES}
    name = size_text(OUTPUT_SIZE) if size is None else str(size)
    if name not in sizes:
        raise LatencyError(f"There is no size {brief(name)}: expected {listing(sizes)}.")
    count = _integer(threads)
    return View(
        family.scale,
        profile.id,
        sizes[name],
        count if count in profile.threads else profile.setting(None).threads,
        _assumed_share(profile, share),
        _number(budget_ms, "budget", 0, 1e6) or None,
        cast(Axis, _choice(axis, get_args(Axis), "axis")),
        cast(Metric, _choice(metric, get_args(Metric), "metric")),
        family.colour,
    )


def query(link: Link) -> str:
    """Return the query string (without "?") that `parse_query` reads. Defaults are left out."""
    view = link.view
    fields: dict[str, str] = {"scale": str(view.scale)}
    if view.colour != "rgb":
        fields["colour"] = view.colour
    fields |= {"device": view.device, "net": to_text(link.current)}
    if view.size != OUTPUT_SIZE:
        fields["size"] = size_text(view.size)
    if view.threads is not None:
        fields["threads"] = str(view.threads)
    if view.share is not None:
        fields["share"] = f"{view.share:g}"
    if view.budget_ms != DEFAULT_BUDGET_MS:
        fields["budget"] = f"{view.budget_ms or 0:g}"
    if view.axis != "latency":
        fields["axis"] = view.axis
    if view.metric != "psnr_y_db":
        fields["metric"] = view.metric
    if link.picks:
        fields["compare"] = " ".join(one.text for one in link.picks)
    if link.tab != "explore":
        fields["tab"] = link.tab
    return urlencode(fields)


def parse_query(
    catalogue: Catalogue, default: Link, fields: Mapping[str, str], tabs: Collection[str]
) -> Link:
    """Read the link that `fields` describe. What they do not name is as in `default`.

    Args:
        tabs: names of those that can be open.

    Raises:
        UpFrontError: anything that is not on offer.
    """
    length = sum(len(name) + len(value) for name, value in fields.items())
    if length > MAX_LINK:
        raise LatencyError(f"The link has {length} characters: expected at most {MAX_LINK}.")
    usual = default.view
    view = make_view(
        catalogue,
        scale=fields.get("scale", usual.scale),
        colour=fields.get("colour", "rgb" if "scale" in fields else usual.colour),
        device=fields.get("device", usual.device),
        size=fields.get("size", size_text(usual.size)),
        threads=fields.get("threads", usual.threads),
        share=fields.get("share"),
        budget_ms=fields.get("budget", usual.budget_ms),
        axis=fields.get("axis", usual.axis),
        metric=fields.get("metric", usual.metric),
    )
    current = catalogue.models(view.family)[0].candidate
    if "net" in fields:
        current = catalogue.check(catalogue.candidate_by_name(fields["net"]), view.family)
    elif view.family == default.current.family:
        current = default.current
    texts = fields.get("compare", "").split()
    picks = tuple(dict.fromkeys(pick(catalogue, text) for text in texts))
    for one in picks:
        catalogue.check(one.candidate, view.family)
    if len(picks) > MAX_PICKS:
        raise LatencyError(f"The link compares {len(picks)} networks: at most {MAX_PICKS}.")
    tab = _choice(fields.get("tab", "explore"), tabs, "tab")
    return Link(view, current, picks, tab)


def pick(catalogue: Catalogue, text: str) -> Pick:
    """Return a network by a final model's name, or as `Catalogue.candidate_by_name` does."""
    final = catalogue.final_by_name(text)
    return Pick(final.candidate, final.name) if final else Pick(catalogue.candidate_by_name(text))


def family_fields(name: object) -> dict[str, object]:
    """Return `scale` and `colour` for `make_view`, of a family's name or of a scale of RGB."""
    family = Family.named(str(name))
    return {"scale": family.scale, "colour": family.colour} if family else {"scale": name}


def _family(catalogue: Catalogue, scale: object, colour: object) -> Family:
    """Return the family of a scale and colour. Raises `LatencyError` if it is not on offer."""
    number = _integer(scale)
    if number is None or number not in catalogue.scales:
        raise LatencyError(
            f"There is no scale {brief(scale)}: expected {listing(catalogue.scales)}."
        )
    name = cast(Colour, _choice(colour, tuple(CHANNELS), "colour"))
    family = Family(number, name)
    if family not in catalogue.families:
        names = listing([one.name for one in catalogue.families])
        raise LatencyError(f"There are no {family.name} networks here: expected {names}.")
    return family


def _assumed_share(profile: DeviceProfile, share: object) -> float | None:
    """Return the share, None if it is what the device assumes anyway."""
    if profile.sparsity is None:
        return None
    number = _number(share, "share", 0, 1)
    return None if number == profile.sparsity.share else number


def _integer(value: object) -> int | None:
    """Read a whole number from a form field, which may hold text. None if it is none."""
    try:
        return int(str(value))
    except ValueError:
        return None


def _number(value: object, what: str, low: float, high: float) -> float | None:
    if value is None:
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not low <= number <= high:  # also refuses NaN
        raise LatencyError(f"The {what} {brief(value)} is not a number of {low:g} to {high:g}.")
    return number


def _choice(value: object, choices: Collection[str], what: str) -> str:
    if value not in choices:
        raise LatencyError(f"There is no {what} {brief(value)}: expected {listing(choices)}.")
    return str(value)
