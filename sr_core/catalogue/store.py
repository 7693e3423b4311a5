"""The one reader of precomputed/: weights, candidates, results, checksums (`writer` writes it).

    manifest.json                  SHA-256 of every other file
    supernets/x4.safetensors+.json EMA weights and how they were trained; x4-luma: another family
    supernets/x4.csv, x4.png       log and curve of that training
    supernets/moments.safetensors  second moments of LR patches, which refit a pruned input skip
    supernets/next/                weights still in training: sealed, but listed nowhere
    devices/*.json                 latency profiles of devices
    engine/*.so                    the sparse engine, compiled
    fronts/x4.parquet+.json        networks that the search evaluated, and its runs
    rivals/NAME-x4.safetensors+.json  published architectures, trained here
    results/published.json         accuracy of others' models, with sources
    results/engine-avx2.json, ...  our engine beside others (`bench engine --store`), a file for
                                   each instruction set
    results/rivals.json            re-trained published architectures beside ours (`bench rivals`)
    results/ablations.json         families of fine-tuned networks side by side (`bench ablation`)
    results/samplers.json          the search's samplers at equal evaluations (`bench samplers`)
    results/workers.json           trials a second of 1 and 2 workers (`bench workers`)
    results/quality.json           PSNR/SSIM of the listed models, keyed by model id and image set
    models/*.safetensors+.json     final models: fine-tuned candidates with their own results
    models/*.csv                   log of the last run that trained each
    models/*.stage3.json           sensitivity of its layers, and how its ratios were found
    models/replaced.json           names and ids of weights that others took the place of

A result counts only for the exact weights it was measured with (its model id holds their
checksum), so a retrained supernet can never show old numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sr_core.catalogue.final import Final, checked_name, read_final
from sr_core.catalogue.manifest import Manifest, mismatch
from sr_core.catalogue.moments import MOMENTS, read_moments
from sr_core.catalogue.replaced import REPLACED, read_replaced, successor
from sr_core.catalogue.writer import (
    ABLATIONS,
    ENGINE_BENCH,
    QUALITY,
    RIVAL_BENCH,
    SAMPLER_BENCH,
    WORKER_BENCH,
    stage_3_path,
    write_file,
)
from sr_core.engine.library import Library, find
from sr_core.engine.shipped import INSTRUCTIONS, load, shipped_sha256
from sr_core.errors import CatalogueError, EngineError, InvalidCandidate, LatencyError
from sr_core.files import PRECOMPUTED, read_utf8
from sr_core.latency.own import OWN, own_device, own_device_path
from sr_core.latency.profile import (
    BASES,
    DeviceProfile,
    of_earlier_engine,
    profile_json,
    read_profile,
)
from sr_core.network.candidate import Candidate, Family, model_id
from sr_core.network.checks import brief
from sr_core.network.colour import CHANNELS
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.network.layers import describe, lr_size, totals
from sr_core.network.notation import EXAMPLE, from_text, looks_like_text
from sr_core.network.presets import presets
from sr_core.network.refit import Moments
from sr_core.network.weights import SupernetWeights, read_descriptor, read_supernet
from sr_core.results.ablations import Ablation
from sr_core.results.engine import EngineBench
from sr_core.results.published import PublishedModel
from sr_core.results.quality import Quality
from sr_core.results.record import Runtime, read_record
from sr_core.results.rivals import RivalBench
from sr_core.results.samplers import SamplerBench, WorkerBench
from sr_core.results.stage3 import Stage3
from sr_core.rivals.weights import Rival, read_rival
from sr_core.runtime.choice import runtime_version

if TYPE_CHECKING:  # pandas and pyarrow load only where a front is read
    from sr_core.catalogue.fronts import Front

Result = TypeVar("Result")
_PUBLISHED = "results/published.json"
_ENGINE = "engine/"


@dataclass(frozen=True)
class Model:
    """A listed model with its measured quality.

    It is a preset candidate of a shipped supernet, or a final model.
    """

    id: str
    name: str
    title: str
    candidate: Candidate
    quality: tuple[Quality, ...]
    kind: Literal["supernet", "final"] = "supernet"

    @classmethod
    def of_final(cls, final: Final) -> Model:
        """Return a final model as the list shows it."""
        title = f"Fine-tuned {final.descriptor.network}"
        return cls(final.id, final.name, title, final.candidate, final.quality, "final")

    def summary(self) -> dict[str, Any]:
        """Return the JSON row of `python -m sr_core models --json`."""
        cost = totals(describe(self.candidate, *lr_size(self.candidate.scale)))
        row: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "scale": self.candidate.scale,
            "colour": self.candidate.colour,
            "params_kept": cost.params_kept,
            "params_dense": cost.params_dense,
            "macs_kept_g": round(cost.macs_kept / 1e9, 4),
            "macs_dense_g": round(cost.macs_dense / 1e9, 4),
        }
        for result in self.quality:
            row[f"psnr_y_{result.image_set.lower()}"] = round(result.psnr_y, 3)
            row[f"ssim_y_{result.image_set.lower()}"] = round(result.ssim_y, 4)
            if result.psnr_rgb is not None:
                row[f"psnr_rgb_{result.image_set.lower()}"] = round(result.psnr_rgb, 3)
        return row


class Catalogue:
    """Read access to a precomputed folder. Files are read on first use and kept."""

    def __init__(self, root: Path = PRECOMPUTED, *, use_engine: bool = True) -> None:
        self.root = root
        self._manifest = Manifest(root)
        self._use_engine = use_engine
        self._supernets: dict[Family, SupernetWeights] = {}
        self._models: dict[Family, list[Model]] = {}
        self._fronts: dict[Family, Front] = {}
        self.device_problem = ""
        """What is wrong with this computer's own profiles, in sentences; set by `devices`."""

    @cached_property
    def families(self) -> list[Family]:
        """Families that have a supernet here, by scale, RGB first.

        Raises `CatalogueError` if there is none.
        """
        stems = (path.stem for path in (self.root / "supernets").glob("*.safetensors"))
        families = [family for stem in stems if (family := Family.named(stem))]
        if not families:
            raise CatalogueError(
                f"No supernet in {self.root}: restore the folder from the repository, or train "
                "one with `python -m sr_core train` and `publish` it."
            )
        colours = list(CHANNELS)
        return sorted(families, key=lambda one: (one.scale, colours.index(one.colour)))

    @property
    def scales(self) -> list[int]:
        """Scales of the families."""
        return sorted({family.scale for family in self.families})

    def require(self, family: Family) -> Family:
        """Return `family` if it has a supernet here. Raises `CatalogueError` otherwise."""
        if family not in self.families:
            choices = ", ".join(one.name for one in self.families)
            raise CatalogueError(f"There is no {family.name} supernet here: expected {choices}.")
        return family

    def supernet(self, family: Family) -> SupernetWeights:
        """Return the weights of one family, checked against the manifest."""
        if self.require(family) not in self._supernets:
            path = self._supernet_path(family)
            weights = read_supernet(path)  # first: it says more about a damaged file
            self._manifest.require(path)
            if weights.spec.family != family:
                raise mismatch(f"supernets/{path.name}")
            moments = self.moments.get(family.scale)
            self._supernets[family] = replace(weights, moments=moments)
        return self._supernets[family]

    @cached_property
    def moments(self) -> dict[int, Moments]:
        """Second moments of RGB LR patches by scale. Empty without the file."""
        path = self.root / MOMENTS
        if not path.is_file():
            return {}
        self._manifest.require(path)
        return read_moments(path)

    def descriptor(self, family: Family) -> dict[str, Any]:
        """Return how the supernet was trained, as `train` and `publish` wrote it."""
        return read_descriptor(self._supernet_path(family))

    @cached_property
    def quality(self) -> list[Quality]:
        """All stored results, checked against the manifest. The list may be empty."""
        return self._result(QUALITY, list[Quality], "publish") or []

    def models(self, family: Family | None = None) -> list[Model]:
        """List the models of the supernets, of one family or of all."""
        families = self.families if family is None else [family]
        return [model for one in families for model in self._models_of(one)]

    def _models_of(self, family: Family) -> list[Model]:
        if family not in self._models:
            supernet = self.supernet(family)
            models: list[Model] = []
            for preset in presets(supernet.spec):
                identity = model_id(preset.candidate, supernet.sha256)
                results = tuple(q for q in self.quality if q.model_id == identity)
                models.append(Model(identity, preset.name, preset.title, preset.candidate, results))
            self._models[family] = models
        return self._models[family]

    def finals(self, family: Family | None = None) -> list[Final]:
        """List the final models, of one family or of all, from few to many kept parameters.

        Raises `CatalogueError` if one is damaged or does not match the manifest.
        """
        return [f for f in self._finals if family in (None, f.candidate.family)]

    def finals_of_scale(self, scale: int) -> list[Final]:
        """List the final models of one scale, whatever they see. Errors are those of `finals`."""
        return [final for final in self._finals if final.candidate.scale == scale]

    @cached_property
    def _finals(self) -> list[Final]:
        paths = sorted((self.root / "models").glob("*.safetensors"))
        finals = [self._final(path) for path in paths]
        colours = list(CHANNELS)
        return sorted(
            finals,
            key=lambda f: (
                f.candidate.scale, colours.index(f.candidate.colour), f.params_kept, f.name,
            ),
        )  # fmt: skip

    def _final(self, path: Path) -> Final:
        self._manifest.require(path, path.with_suffix(".json"))
        final = read_final(path)
        if final.name != checked_name(path.stem):
            raise CatalogueError(
                f"models/{path.stem}.json is of {brief(final.name)}: expected its own file name."
            )
        return final

    def model_of(self, candidate: Candidate) -> Model | None:
        """Return the listed model that is this candidate, None if there is none."""
        return next((m for m in self.models(candidate.family) if m.candidate == candidate), None)

    @cached_property
    def published_models(self) -> list[PublishedModel]:
        """Models of others, with their sources. Empty without the file."""
        return self._result(_PUBLISHED, list[PublishedModel]) or []

    @cached_property
    def engine_benches(self) -> tuple[EngineBench, ...]:
        """What `bench engine --store` measured with each instruction set, the best one first."""
        found = [
            self._result(ENGINE_BENCH.format(option), EngineBench, "bench engine --store")
            for option in INSTRUCTIONS
        ]
        return tuple(bench for bench in found if bench)

    def rivals(self, scale: int) -> list[Rival]:
        """List the published architectures that were trained here, the smallest first."""
        rivals: list[Rival] = []
        for path in sorted((self.root / "rivals").glob(f"*-x{scale}.safetensors")):
            self._manifest.require(path, path.with_suffix(".json"))
            rivals.append(read_rival(path))
        return sorted(rivals, key=lambda rival: rival.layout.params)

    @cached_property
    def ablations(self) -> tuple[Ablation, ...]:
        """What `bench ablation --store` measured. Empty without the file."""
        return self._result(ABLATIONS, tuple[Ablation, ...], "bench ablation --store") or ()

    @cached_property
    def rival_bench(self) -> RivalBench | None:
        """What `bench rivals --store` measured, None without the file."""
        return self._result(RIVAL_BENCH, RivalBench, "bench rivals --store")

    @cached_property
    def sampler_bench(self) -> SamplerBench | None:
        """What `bench samplers --store` measured, None without the file."""
        return self._result(SAMPLER_BENCH, SamplerBench, "bench samplers --store")

    @cached_property
    def worker_bench(self) -> WorkerBench | None:
        """What `bench workers --store` measured, None without the file."""
        return self._result(WORKER_BENCH, WorkerBench, "bench workers --store")

    def _result(self, name: str, kind: type[Result], command: str = "") -> Result | None:
        """Read a file of results and check it against the manifest. None without the file.

        `command` makes the file anew.
        """
        path = self.root / name
        if not path.is_file():
            return None
        self._manifest.require(path)
        remake = "restore it from the repository"
        if command:
            remake += f", or run `python -m sr_core {command}`"
        return read_record(path, kind, remake=remake)

    def bicubic(self, scale: int) -> tuple[Quality, ...]:
        """Return the baseline's stored results."""
        return tuple(q for q in self.quality if q.model_id == bicubic_id(scale))

    @property
    def engine(self) -> Library | None:
        """The sparse engine, None if it cannot be used here (see `engine_problem`)."""
        return self._engine[0]

    def library(self, option: str) -> Library:
        """Return a shipped library, or the one built here, by the name of `engine.shipped`.

        Raises `EngineError` if it cannot run here.
        """
        return load(option, self.root / _ENGINE, self._engine_checksums())

    @property
    def engine_problem(self) -> str:
        """Why there is no engine, in a sentence. Empty if there is one."""
        return self._engine[1]

    @cached_property
    def _engine(self) -> tuple[Library | None, str]:
        if not self._use_engine:
            return None, "The sparse engine was switched off by --engine onnx."
        try:
            return find(self.root / _ENGINE, self._engine_checksums()), ""
        except (CatalogueError, EngineError) as error:
            return None, str(error)

    def _engine_checksums(self) -> dict[str, str]:
        """Return file name -> SHA-256 of the shipped libraries."""
        return {
            name.removeprefix(_ENGINE): digest
            for name, digest in self.manifest.items()
            if name.startswith(_ENGINE)
        }

    @cached_property
    def devices(self) -> list[DeviceProfile]:
        """Latency profiles, the best founded first: this computer's, if it was measured.

        Among equally founded ones, those of the sparse engine come first. One of an earlier
        engine stands with those that were measured elsewhere.
        """
        paths = sorted((self.root / "devices").glob("*.json"))
        profiles = [self._of_its_engine(self._device(path)) for path in paths]
        own = [own_device(name, lambda name=name: self._runtime_version(name)) for name in OWN]
        self.device_problem = " ".join(problem for _, problem in own if problem)
        profiles += [profile for profile, _ in own if profile]
        return sorted(profiles, key=_standing)

    def _of_its_engine(self, profile: DeviceProfile) -> DeviceProfile:
        """Return a shipped profile, marked if the engine it was measured with is not shipped."""
        if profile.runtime_id != "sparse" or not profile.basis.startswith("measured"):
            return profile
        checksums = self._engine_checksums()
        library = profile.library
        present = shipped_sha256(library.instructions, checksums) if library else set(checksums)
        is_present = not present or (library is not None and library.sha256 in present)
        return profile if is_present else of_earlier_engine(profile)

    def _runtime_version(self, runtime_id: Runtime) -> str:
        """Return the version of the runtime at hand, empty if there is none."""
        if runtime_id == "sparse" and self.engine is None:
            return ""
        return runtime_version(self.engine if runtime_id == "sparse" else None)

    def device(self, identity: str | None = None) -> DeviceProfile:
        """Return the profile called `identity`, or the first one. Raises `LatencyError`."""
        for profile in self.devices:
            if identity in (None, profile.id):
                return profile
        if not self.devices:
            raise LatencyError("There is no device profile: run `python -m sr_core measure` first.")
        choices = ", ".join(profile.id for profile in self.devices)
        raise LatencyError(f"There is no device {brief(identity)}: expected one of {choices}.")

    def keep_device(self, profile: DeviceProfile) -> Path:
        """Write this computer's new profile to the user's data folder. Returns its path."""
        path = own_device_path(profile.runtime_id or "onnx")
        write_file(path, profile_json(profile))
        self.__dict__.pop("devices", None)  # so that the cached list is made anew
        return path

    def _device(self, path: Path) -> DeviceProfile:
        self._manifest.require(path)
        return read_profile(path)

    def front(self, family: Family) -> Front | None:
        """Return what the search evaluated with the shipped weights, None if nothing.

        Raises `CatalogueError` if the files are damaged, or are of other weights.
        """
        from sr_core.catalogue.fronts import front_paths, read_front

        paths = front_paths(self.root, family)
        if not any(path.exists() for path in paths):
            return None
        if family not in self._fronts:
            self._manifest.require(*paths)
            front = read_front(self.root, family)
            self._check_weights(front)
            self._fronts[family] = front
        return self._fronts[family]

    def _check_weights(self, front: Front) -> None:
        family = front.header.family
        supernet, name = self.supernet(family), family.name
        if front.header.weights_sha256 != supernet.sha256:
            raise CatalogueError(
                f"fronts/{name}.json is of other weights than supernets/{name}.safetensors: "
                f"delete fronts/{name}.* and search again."
            )
        try:
            for candidate in front.candidates:
                supernet.spec.check(candidate)
        except InvalidCandidate as error:
            raise CatalogueError(f"fronts/{name}.parquet: {error} Search again.") from None

    def find(self, reference: str) -> Candidate:
        """Return a candidate by name, or by the path of its JSON file or final.safetensors."""
        if reference.lower().endswith(".safetensors"):
            return read_final(Path(reference)).candidate
        if not reference.lower().endswith(".json"):
            return self.candidate_by_name(reference)
        try:
            text = read_utf8(Path(reference)).decode()
        except (OSError, ValueError) as error:
            raise InvalidCandidate(f"Cannot read {reference} ({error}).") from None
        return Candidate.loads(text)

    def candidate_by_name(self, reference: str) -> Candidate:
        """Return a candidate by model name, id or network text. It opens no file."""
        if looks_like_text(reference):
            return from_text(reference)
        for model in self.models():
            if reference in (model.name, model.id):
                return model.candidate
        if final := self.final_by_name(reference):
            return final.candidate
        names = ", ".join(model.name for model in [*self.models(), *self.finals()])
        raise InvalidCandidate(
            f"There is no model {brief(reference)}: expected a candidate's .json file, a network "
            f"text like {EXAMPLE}, or one of {names}."
        )

    def check(self, candidate: Candidate, family: Family | None = None) -> Candidate:
        """Return `candidate` if the shipped supernet of `family` (default: its own) holds it."""
        self.supernet(family or candidate.family).spec.check(candidate)
        return candidate

    def network(self, candidate: Candidate) -> ExtractedNetwork:
        """Return a candidate with the shipped weights of its family."""
        return extract(self.supernet(candidate.family), candidate)

    def network_of(self, reference: str) -> ExtractedNetwork:
        """Return what `find` finds, with a final model's weights or the shipped ones."""
        final = self.final(reference)
        return final.network if final else self.network(self.find(reference))

    def final(self, reference: str) -> Final | None:
        """Return the final model of this name, id or final.safetensors, None if it is none."""
        if reference.lower().endswith(".safetensors"):
            return read_final(Path(reference))
        return self.final_by_name(reference)

    def stage_3(self, final: Final) -> Stage3 | None:
        """Return how the ratios of a final model came about, None where nothing is stored."""
        path = stage_3_path(self.root, final.name)
        if not path.is_file():
            return None
        self._manifest.require(path)
        return read_record(path, Stage3, remake="publish the model again")

    def final_by_name(self, reference: str) -> Final | None:
        """Return the final model of this name or id, None if it is none.

        Raises `InvalidCandidate`, with the successor, if its weights were replaced.
        """
        for final in self.finals():
            if reference in (final.name, final.id):
                return final
        if name := self.replaced.get(reference):
            raise successor(reference, name)
        return None

    @cached_property
    def replaced(self) -> dict[str, str]:
        """Names and ids of replaced weights -> name of the successor."""
        path = self.root / REPLACED
        if path.is_file():
            self._manifest.require(path)
        return read_replaced(self.root)

    def _supernet_path(self, family: Family) -> Path:
        return self.root / "supernets" / f"{family.name}.safetensors"

    @property
    def manifest(self) -> dict[str, str]:
        """File name -> SHA-256."""
        return self._manifest.entries


def _standing(profile: DeviceProfile) -> tuple[int, bool, bool]:
    """Return where a profile stands in the list of devices."""
    is_earlier = profile.basis == "measured with an earlier engine"
    basis = "measured elsewhere" if is_earlier else profile.basis
    is_own = is_earlier and profile.id in OWN.values()
    return BASES.index(basis), profile.runtime_id != "sparse", not is_own


def bicubic_id(scale: int) -> str:
    """Return what stands for a model id in the baseline's results."""
    return f"bicubic-x{scale}"
