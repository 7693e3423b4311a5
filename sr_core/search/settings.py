"""What a search is asked to do (no Optuna: the command line lists the options)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from sr_core.errors import SearchError
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Family
from sr_core.network.colour import Colour
from sr_core.options import command_line, flag, option, words
from sr_core.results.record import Runtime

MACS = "macs"
"""The objective that is no device."""
Sampler = Literal["random", "nsga2", "tpe", "bayes"]
NetworkList = Literal["presets", "uniform"]
"""Lists of networks instead of a sampler; see `sr_core.network.presets`."""
NETWORK_LISTS: tuple[str, ...] = get_args(NetworkList)
AnySampler = Literal[Sampler, NetworkList]
SAMPLERS: tuple[str, ...] = get_args(AnySampler)
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

MAX_SEED = 2**32 - 1
"""NumPy's."""
_LOCAL = ("threads", "storage", "study", "resume", "worker", "out")
"""Settings of the computer and the study; a stored command leaves them out."""


def family_words(family: Family) -> str:
    """Return the options that select a family: `--scale 4`, `--scale 4 --colour luma`."""
    colour = "" if family.colour == "rgb" else f" --colour {family.colour}"
    return f"--scale {family.scale}{colour}"


def _schemes(text: str) -> tuple[str, ...]:
    """Split comma-separated names, and put them in menu order, with dense.

    Unknown names are refused later.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    menu = [scheme for scheme in SCHEMES if scheme in names or scheme == "dense"]
    return (*menu, *(set(names) - set(SCHEMES)))


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be stored. The shell also passes bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class SearchArgs:
    """Settings of a run. Raises `SearchError` if they do not fit together."""

    scale: int | None = option(None, "upscaling factor: 2 or 4 (not for --worker)")
    """None for a worker: it takes its settings from the study."""
    colour: Colour = option(
        "rgb", "of the networks: rgb (default), or luma, which upscale brightness alone"
    )
    val: Path | None = option(
        None,
        "search: folder of HR validation images; the result is appended to the stored front. "
        "Without it: crops of scikit-image's photographs, which leave the front alone",
    )
    sampler: AnySampler = option(
        "nsga2",
        "who proposes networks (default nsga2); random, nsga2, tpe and bayes (a Gaussian "
        "process) start from the presets and a spread of the stored front; presets: evaluate the "
        "listed models, nothing else; uniform: every plain network (one block, scheme and ratio "
        "throughout)",
    )
    objective: str = option(
        MACS,
        "cost to trade against PSNR: a device from `devices`, or macs (default)",
        metavar="DEVICE_ID",
    )
    budget_ms: float | None = option(None, "slower networks count as infeasible (device only)")
    trials: int = option(600, "proposals")
    """Also of networks that are known."""
    seed: int = option(0, "of the sampler")
    threads: int | None = option(None, "crops at the same time; default: all cores")
    schemes: tuple[Scheme, ...] = option(
        SCHEMES,
        f"pruning schemes that layers may take besides dense: {','.join(SCHEMES[1:])}",
        metavar="A,B,...",
        parse=_schemes,
    )
    ratio_per_layer_kind: bool = option(
        False, "one ratio for each kind of layer instead of one for all"
    )
    storage: str | None = option(
        None,
        "keep the study in a database, where more workers can help and a stopped search can be "
        "resumed: sqlite:///FILE.db, or postgresql+psycopg://USER:PASSWORD@HOST/NAME (needs "
        '`pip install "psycopg[binary]"`)',
        metavar="URL",
    )
    """None keeps it in memory."""
    study: str | None = option(None, "its name; default: from the settings", metavar="NAME")
    resume: bool = option(False, "go on with a study of this name")
    worker: bool = option(False, "only evaluate for a study that is there already")
    """Another process saves the result."""
    out: Path | None = option(None, "write the result there", metavar="FILE.json")
    engine: Runtime = "sparse"
    """Its option is one of many commands: `sr_core.runtime.choice`."""

    def __post_init__(self) -> None:
        for name in ("trials", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SearchError(f"{flag(name)} {value}: expected at least 1.")
        if not 0 <= self.seed <= MAX_SEED:
            raise SearchError(f"--seed {self.seed}: expected 0 to {MAX_SEED}.")
        if self.sampler not in SAMPLERS:
            expected = ", ".join(SAMPLERS)
            raise SearchError(f"There is no sampler {self.sampler}: expected one of {expected}.")
        for scheme in self.schemes:
            if scheme not in SCHEMES:
                expected = ", ".join(SCHEMES)
                raise SearchError(
                    f"--schemes: there is no {scheme!r}; expected some of {expected}."
                )
        if self.study is not None and not _is_unicode(self.study):
            raise SearchError(f"--study {self.study!a} is no text: give another name.")
        self._check_place()

    def _check_place(self) -> None:
        if self.storage is None and (self.resume or self.worker):
            option = "--resume" if self.resume else "--worker"
            raise SearchError(f"{option} needs the --storage that holds the study.")
        if self.worker and (self.resume or self.out):
            raise SearchError("--worker only helps: leave out --resume and --out.")
        if self.worker and self.study is None:
            raise SearchError("--worker needs the --study to help with.")
        if not self.worker:
            _ = self.family

    @property
    def family(self) -> Family:
        """The networks to search among. Raises `SearchError` for a worker that names no scale."""
        if self.scale is None:
            raise SearchError("--scale is missing: give 2 or 4.")
        return Family(self.scale, self.colour)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study or f"{self.family.name}-{self.objective}-{self.sampler}-{self.seed}"

    @property
    def command(self) -> str:
        """The command that repeats this run, with placeholders for local names."""
        left_out = {*_LOCAL}
        if self.sampler in NETWORK_LISTS:
            left_out |= {"trials", "seed", "schemes", "ratio_per_layer_kind"}
        if self.schemes == SCHEMES:
            left_out.add("schemes")
        if self.engine == "sparse":
            left_out.add("engine")
        if self.colour == "rgb":
            left_out.add("colour")
        options = words(self, places={"val": "DATA/val"}, leave_out=left_out)
        if self.val is None:
            options += ["--out", "RESULT.json"]
        return command_line("search", options)


OF_STUDY = tuple(
    item.name for item in fields(SearchArgs) if item.name not in (*_LOCAL, "val", "engine")
)
"""Settings that all workers of a study share, by name; images and engine may lie elsewhere."""
