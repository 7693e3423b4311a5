"""The one reader and writer of precomputed/: weights, candidates, results, checksums.

    manifest.json                  SHA-256 of every other file
    supernets/x4.safetensors+.json EMA weights and how they were trained
    supernets/x4.csv, x4.png       log and curve of that training
    devices/*.json                 latency profiles of devices
    engine/*.so                    the sparse engine, compiled
    fronts/x4.parquet+.json        networks that the search evaluated, and its runs
    results/published.json         accuracy of others' models, with sources
    results/engine.json            our engine beside ONNX Runtime (`bench engine --store`)
    results/quality.json           PSNR/SSIM of the listed models, keyed by model id and image set

A result counts only for the exact weights it was measured with (its model id holds their
checksum), so a retrained supernet can never show old numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_core.candidate import SCALES, Candidate, model_id
from sr_core.checks import shown
from sr_core.engine.library import Library, find
from sr_core.engine_results import EngineBench, read_engine_bench
from sr_core.engine_results import to_json as engine_bench_json
from sr_core.errors import CatalogueError, EngineError, InvalidCandidate, LatencyError
from sr_core.files import sha256, write_atomic
from sr_core.latency.own import OWN, own_device, own_device_path
from sr_core.latency.profile import BASES, DeviceProfile, RuntimeId, read_profile
from sr_core.latency.profile import to_json as profile_json
from sr_core.layers import describe, lr_size, totals
from sr_core.notation import EXAMPLE, from_text, looks_like_text
from sr_core.presets import presets
from sr_core.published import PublishedModel, read_published
from sr_core.quality.metrics import PROTOCOL
from sr_core.runtime.choice import runtime_version
from sr_core.schema import descriptor_problems, quality_row, read_json
from sr_core.supernet.extract import ExtractedNetwork, extract
from sr_core.supernet.weights import SupernetWeights, read_descriptor, read_supernet

if TYPE_CHECKING:  # pandas and pyarrow load only where a front is read
    from sr_core.search.records import Front

DEFAULT_ROOT = Path(__file__).parent.parent / "precomputed"
LICENCE = "Weights: research, teaching and evaluation only; see LICENSE.md."
"""Note in every published descriptor; LICENSE.md is that of the precomputed folder."""
_MANIFEST = "manifest.json"
_QUALITY = "results/quality.json"
_PUBLISHED = "results/published.json"
_ENGINE = "engine/"
_ENGINE_BENCH = "results/engine.json"


@dataclass(frozen=True)
class Quality:
    """A measured result of one model on one image set."""

    model_id: str
    image_set: str
    image_set_sha256: str
    protocol: str
    n: int
    psnr_y: float
    """dB, mean over the images."""
    ssim_y: float


@dataclass(frozen=True)
class Model:
    """A listed model: a preset candidate of a shipped supernet, with its measured quality."""

    id: str
    name: str
    title: str
    candidate: Candidate
    quality: tuple[Quality, ...]

    def summary(self) -> dict[str, Any]:
        """The JSON row of `python -m sr_core models --json`."""
        cost = totals(describe(self.candidate, *lr_size(self.candidate.scale)))
        row: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "title": self.title,
            "scale": self.candidate.scale,
            "params_kept": cost.params_kept,
            "params_dense": cost.params_dense,
            "macs_kept_g": round(cost.macs_kept / 1e9, 4),
            "macs_dense_g": round(cost.macs_dense / 1e9, 4),
        }
        for result in self.quality:
            row[f"psnr_y_{result.image_set.lower()}"] = round(result.psnr_y, 3)
            row[f"ssim_y_{result.image_set.lower()}"] = round(result.ssim_y, 4)
        return row


class Catalogue:
    """Read access to a precomputed folder. Files are read on first use and kept."""

    def __init__(self, root: Path = DEFAULT_ROOT, *, use_engine: bool = True) -> None:
        self.root = root
        self._use_engine = use_engine
        self._supernets: dict[int, SupernetWeights] = {}
        self._fronts: dict[int, Front] = {}
        self.device_problem = ""
        """What is wrong with this computer's own profiles, in sentences; set by `devices`."""

    @cached_property
    def scales(self) -> list[int]:
        """Scales that have a supernet here; `CatalogueError` if there is none."""
        found = sorted(
            int(path.stem[1:])
            for path in (self.root / "supernets").glob("x*.safetensors")
            if path.stem[1:].isdigit()
        )
        if not found:
            raise CatalogueError(
                f"No supernet in {self.root}: restore the folder from the repository, or train "
                "one with `python -m sr_core train` and `publish` it."
            )
        return found

    def supernet(self, scale: int) -> SupernetWeights:
        """Weights of one scale, checked against the manifest."""
        if scale not in self.scales:
            listed = ", ".join(f"x{s}" for s in self.scales)
            raise CatalogueError(f"There is no x{scale} supernet here: expected {listed}.")
        if scale not in self._supernets:
            loaded = read_supernet(self._supernet_path(scale))
            name = f"supernets/x{scale}.safetensors"
            if loaded.sha256 != self._manifest.get(name) or loaded.spec.scale != scale:
                raise _mismatch(name)
            self._supernets[scale] = loaded
        return self._supernets[scale]

    def descriptor(self, scale: int) -> dict[str, Any]:
        """How the supernet was trained, as written by `train` and `publish`."""
        return read_descriptor(self._supernet_path(scale))

    @cached_property
    def quality(self) -> list[Quality]:
        """All stored results, checked against the manifest; an empty list if none were stored."""
        path = self.root / _QUALITY
        if not path.is_file():
            return []
        if sha256(path) != self._manifest.get(_QUALITY):
            raise _mismatch(_QUALITY)
        rows = enumerate(read_json(path, list), start=1)
        return [Quality(**quality_row(row, f"{_QUALITY}, row {i},")) for i, row in rows]

    def models(self, scale: int | None = None) -> list[Model]:
        """The listed models, of one scale or of all."""
        listed: list[Model] = []
        for one in self.scales if scale is None else [scale]:
            spec, digest = self.supernet(one).spec, self.supernet(one).sha256
            for preset in presets(scale=one, width=spec.width, cells=spec.cells):
                identity = model_id(preset.candidate, digest)
                results = tuple(q for q in self.quality if q.model_id == identity)
                listed.append(Model(identity, preset.name, preset.title, preset.candidate, results))
        return listed

    def listed(self, candidate: Candidate) -> Model | None:
        """The listed model that is this candidate, if there is one."""
        return next((m for m in self.models(candidate.scale) if m.candidate == candidate), None)

    @cached_property
    def published(self) -> list[PublishedModel]:
        """Models of others, with their sources; none if the file is not there."""
        path = self.root / _PUBLISHED
        if not path.is_file():
            return []
        if sha256(path) != self._manifest.get(_PUBLISHED):
            raise _mismatch(_PUBLISHED)
        return read_published(path)

    @cached_property
    def engine_bench(self) -> EngineBench | None:
        """What `bench engine --store` measured; None if the file is not there."""
        path = self.root / _ENGINE_BENCH
        if not path.is_file():
            return None
        if sha256(path) != self._manifest.get(_ENGINE_BENCH):
            raise _mismatch(_ENGINE_BENCH)
        return read_engine_bench(path)

    def bicubic(self, scale: int) -> tuple[Quality, ...]:
        """The baseline's stored results."""
        return tuple(q for q in self.quality if q.model_id == bicubic_id(scale))

    @property
    def engine(self) -> Library | None:
        """The sparse engine; None if it cannot be used here, `engine_problem` says why."""
        return self._engine[0]

    @property
    def engine_problem(self) -> str:
        """Why there is no engine, in a sentence; empty if there is one."""
        return self._engine[1]

    @cached_property
    def _engine(self) -> tuple[Library | None, str]:
        if not self._use_engine:
            return None, "The sparse engine was switched off by --engine onnx."
        try:
            checksums = {
                name.removeprefix(_ENGINE): digest
                for name, digest in self._manifest.items()
                if name.startswith(_ENGINE)
            }
            return find(self.root / _ENGINE, checksums), ""
        except (CatalogueError, EngineError) as error:
            return None, str(error)

    @cached_property
    def devices(self) -> list[DeviceProfile]:
        """Latency profiles, the best founded first: this computer's, if it was measured.

        Among equally founded ones those of the sparse engine come first.
        """
        found = [self._device(path) for path in sorted((self.root / "devices").glob("*.json"))]
        own = [own_device(name, lambda name=name: self._runtime_version(name)) for name in OWN]
        self.device_problem = " ".join(problem for _, problem in own if problem)
        found += [profile for profile, _ in own if profile]
        return sorted(found, key=lambda p: (BASES.index(p.basis), p.runtime_id != "sparse"))

    def _runtime_version(self, runtime_id: RuntimeId) -> str:
        """Of the runtime at hand; empty if there is none."""
        if runtime_id == "sparse" and self.engine is None:
            return ""
        return runtime_version(self.engine if runtime_id == "sparse" else None)

    def device(self, identity: str | None = None) -> DeviceProfile:
        """The profile called `identity`; None takes the first."""
        for profile in self.devices:
            if identity in (None, profile.id):
                return profile
        if not self.devices:
            raise LatencyError("There is no device profile: run `python -m sr_core measure` first.")
        listed = ", ".join(profile.id for profile in self.devices)
        raise LatencyError(f"There is no device {shown(identity)}: expected one of {listed}.")

    def keep_device(self, profile: DeviceProfile) -> Path:
        """Keep this computer's new profile in the user's data folder; returns where."""
        path = own_device_path(profile.runtime_id or "onnx")
        _write(path, profile_json(profile))
        self.__dict__.pop("devices", None)  # so that the cached list is made anew
        return path

    def _device(self, path: Path) -> DeviceProfile:
        name = f"devices/{path.name}"
        if sha256(path) != self._manifest.get(name):
            raise _mismatch(name)
        return read_profile(path)

    def front(self, scale: int) -> Front | None:
        """What the search evaluated with the shipped weights of a scale; None if nothing.

        `CatalogueError` if the files are damaged, or are of other weights.
        """
        from sr_core.search.records import front_paths, read_front

        paths = front_paths(self.root, scale)
        if not any(path.exists() for path in paths):
            return None
        if scale not in self._fronts:
            for path in paths:
                name = f"fronts/{path.name}"
                if not path.is_file() or sha256(path) != self._manifest.get(name):
                    raise _mismatch(name)
            front = read_front(self.root, scale)
            self._check_weights(front)
            self._fronts[scale] = front
        return self._fronts[scale]

    def _check_weights(self, front: Front) -> None:
        scale = front.header.scale
        supernet = self.supernet(scale)
        if front.header.weights_sha256 != supernet.sha256:
            raise CatalogueError(
                f"fronts/x{scale}.json is of other weights than supernets/x{scale}.safetensors: "
                f"delete fronts/x{scale}.* and search again."
            )
        try:
            for candidate in front.candidates:
                supernet.spec.check(candidate)
        except InvalidCandidate as error:
            raise CatalogueError(f"fronts/x{scale}.parquet: {error} Search again.") from None

    def find(self, reference: str) -> Candidate:
        """A candidate by the path of its JSON file, or as `named` finds it."""
        if not reference.lower().endswith(".json"):
            return self.named(reference)
        try:
            text = Path(reference).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InvalidCandidate(f"Cannot read {reference} ({error}).") from None
        return Candidate.loads(text)

    def named(self, reference: str) -> Candidate:
        """A candidate by model name or id, or as a network text; opens no file."""
        if looks_like_text(reference):
            return from_text(reference)
        for model in self.models():
            if reference in (model.name, model.id):
                return model.candidate
        names = ", ".join(model.name for model in self.models())
        raise InvalidCandidate(
            f"There is no model {shown(reference)}: expected a candidate's .json file, a network "
            f"text like {EXAMPLE}, or one of {names}."
        )

    def check(self, candidate: Candidate, scale: int | None = None) -> Candidate:
        """`candidate`, if the shipped supernet of `scale` (default: its own) holds it."""
        self.supernet(candidate.scale if scale is None else scale).spec.check(candidate)
        return candidate

    def network(self, candidate: Candidate) -> ExtractedNetwork:
        """A candidate with the shipped weights of its scale."""
        return extract(self.supernet(candidate.scale), candidate)

    def verify(self) -> list[str]:
        """Every damage found, one sentence each; empty if all is well."""
        try:
            manifest = self._manifest
        except CatalogueError as error:
            return [str(error)]
        present = set(_files(self.root))
        problems = [f"{name} is missing." for name in sorted(manifest.keys() - present)]
        problems += [
            f"{name} is not listed in manifest.json." for name in sorted(present - manifest.keys())
        ]
        problems += [
            f"{name} does not match its checksum in manifest.json."
            for name in sorted(manifest.keys() & present)
            if sha256(self.root / name) != manifest[name]
        ]
        checks = (
            self._check_supernets, self._check_quality, self._check_fronts, self._check_devices,
        )  # fmt: skip
        for check in checks:
            try:
                problems += check()
            except (CatalogueError, LatencyError) as error:
                problems.append(str(error))
        return list(dict.fromkeys(problems))

    def _check_supernets(self) -> list[str]:
        problems: list[str] = []
        for scale in self.scales:
            try:
                self.supernet(scale)
                problems += descriptor_problems(self.descriptor(scale), f"supernets/x{scale}.json")
            except CatalogueError as error:
                problems.append(str(error))
        return problems

    def _check_quality(self) -> list[str]:
        """Stored results must be of the listed models with the shipped weights, or bicubic's."""
        known = {model.id for model in self.models()} | {bicubic_id(s) for s in self.scales}
        foreign = sorted({q.model_id for q in self.quality} - known)
        problems = [
            f"{_QUALITY} holds results of {name}, which is no listed model." for name in foreign
        ]
        if any(q.protocol != PROTOCOL for q in self.quality):
            problems.append(f"{_QUALITY} holds results of another protocol than {PROTOCOL}.")
        return problems

    def _check_devices(self) -> list[str]:
        """Shipped profiles must be sound, named after their id, and not of "this computer"."""
        problems: list[str] = []
        for path in sorted((self.root / "devices").glob("*.json")):
            profile = read_profile(path)
            if profile.id != path.stem or profile.basis == "measured here":
                problems.append(
                    f"devices/{path.name} is profile {profile.id!r}, {profile.basis}: expected "
                    "its id as file name, and no profile of this computer."
                )
        return problems

    def _check_fronts(self) -> list[str]:
        problems: list[str] = []
        for scale in SCALES:
            try:
                self.front(scale)
            except CatalogueError as error:
                problems.append(str(error))
        return problems

    def _supernet_path(self, scale: int) -> Path:
        return self.root / "supernets" / f"x{scale}.safetensors"

    @cached_property
    def _manifest(self) -> dict[str, str]:
        return read_json(self.root / _MANIFEST, dict)


def bicubic_id(scale: int) -> str:
    """Stands in for a model id in the baseline's results."""
    return f"bicubic-x{scale}"


def write_quality(root: Path, rows: Iterable[Quality]) -> None:
    """Replace the stored results."""
    text = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    _write(root / _QUALITY, text)


def write_engine_bench(root: Path, bench: EngineBench) -> None:
    """Replace the stored times of the engine."""
    _write(root / _ENGINE_BENCH, engine_bench_json(bench))


def write_manifest(root: Path) -> None:
    """Record the checksums of all files below `root` as they are now."""
    listed = {name: sha256(root / name) for name in _files(root)}
    _write(root / _MANIFEST, json.dumps(listed, indent=1) + "\n")


def install_supernet(root: Path, weights: Path) -> int:
    """Copy a trained supernet into `root`, adding the licence note; returns its scale."""
    scale = read_supernet(weights).spec.scale  # refuses damaged weights, nothing is replaced yet
    target = root / "supernets" / f"x{scale}.safetensors"
    _write(target, weights.read_bytes())
    described = read_descriptor(weights) | {"licence": LICENCE}
    _write(target.with_suffix(".json"), json.dumps(described, indent=2) + "\n")
    for name in ("log.csv", "curve.png"):  # the run's history, where the run folder has it
        record = weights.with_name(name)
        if record.is_file():
            _write(target.with_suffix(record.suffix), record.read_bytes())
    return scale


def _mismatch(name: str) -> CatalogueError:
    return CatalogueError(
        f"{name} does not match its checksum in manifest.json: restore both from the repository."
    )


def _write(path: Path, data: bytes | str) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        raise CatalogueError(f"Cannot write {path} ({error}): free some space first.") from error


def _files(root: Path) -> list[str]:
    found = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(n for n in (p.relative_to(root).as_posix() for p in found) if n != _MANIFEST)
