"""What a search is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sr_core.errors import SearchError
from sr_core.latency.profile import RuntimeId
from sr_core.network.blocks import Scheme
from sr_core.search.objective import MACS
from sr_core.search.propose import Sampler

Fixed = Literal["presets", "uniform"]
"""Lists of networks instead of a sampler; see `sr_core.network.presets`."""
FIXED: tuple[str, ...] = get_args(Fixed)
SAMPLERS: tuple[str, ...] = (*get_args(Sampler), *FIXED)
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

MAX_SEED = 2**32 - 1
"""NumPy's."""


@dataclass(frozen=True)
class SearchArgs:
    """Settings of a run; `SearchError` if they do not fit together."""

    scale: int | None = None
    """None for a worker: it takes its settings from the study."""
    val: Path | None = None
    """Folder of HR images; None takes the sample photographs, and never touches the front."""
    sampler: Sampler | Fixed = "nsga2"
    objective: str = MACS
    """`macs` or a device's id."""
    budget_ms: float | None = None
    trials: int = 600
    """Proposals, also of networks that are known."""
    seed: int = 0
    threads: int | None = None
    """Crops scored at the same time; None takes all cores."""
    engine: RuntimeId = "sparse"
    """The sparse engine where there is one, or ONNX Runtime."""
    schemes: tuple[Scheme, ...] = SCHEMES
    """Those that layers may take, besides dense."""
    ratio_per_layer_kind: bool = False
    storage: str | None = None
    """URL of a database that holds the study; None keeps it in memory."""
    study: str | None = None
    """Its name; None makes one of the settings."""
    resume: bool = False
    """Go on with the study."""
    worker: bool = False
    """Only help with a study that another process saves."""
    out: Path | None = None
    """File for the result."""

    def __post_init__(self) -> None:
        for name in ("trials", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SearchError(f"--{name} {value}: expected at least 1.")
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
        self._check_place()

    def _check_place(self) -> None:
        if self.storage is None and (self.resume or self.worker):
            option = "--resume" if self.resume else "--worker"
            raise SearchError(f"{option} needs the --storage that holds the study.")
        if self.worker and (self.resume or self.out):
            raise SearchError("--worker only helps: leave out --resume and --out.")
        if self.worker and self.study is None:
            raise SearchError("--worker needs the --study to help with.")
        if self.scale is None and not self.worker:
            raise SearchError("--scale is missing: give 2 or 4.")
        if self.val is None and self.storage is None and self.out is None:
            raise SearchError(
                "Without --val a search leaves the stored front alone: give --out FILE.json for "
                "its result, or a --storage."
            )

    @property
    def name(self) -> str:
        """Of the study."""
        return self.study or f"x{self.scale}-{self.objective}-{self.sampler}-{self.seed}"

    @property
    def command(self) -> str:
        """The command that repeats this run, with placeholders for local names."""
        words = [f"python -m sr_core search --scale {self.scale}"]
        if self.val is not None:
            words.append("--val DATA/val")
        words.append(f"--sampler {self.sampler} --objective {self.objective}")
        if self.budget_ms is not None:
            words.append(f"--budget-ms {self.budget_ms:g}")
        if self.sampler not in FIXED:
            words.append(f"--trials {self.trials} --seed {self.seed}")
            if self.schemes != SCHEMES:
                words.append(f"--schemes {','.join(self.schemes)}")
            if self.ratio_per_layer_kind:
                words.append("--ratio-per-layer-kind")
        if self.engine != "sparse":
            words.append(f"--engine {self.engine}")
        if self.val is None:
            words.append("--out RESULT.json")
        return " ".join(words)
