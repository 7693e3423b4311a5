"""What `verify` checks: every file of precomputed/, its checksum, and that they fit together."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import ConfigDict, Field

from sr_core.catalogue.replaced import REPLACED
from sr_core.catalogue.store import (
    ABLATIONS,
    QUALITY,
    RIVAL_BENCH,
    SAMPLER_BENCH,
    WORKER_BENCH,
    Catalogue,
    bicubic_id,
)
from sr_core.catalogue.writer import files_below
from sr_core.errors import CatalogueError, InvalidCandidate, LatencyError
from sr_core.files import sha256
from sr_core.latency.profile import read_profile
from sr_core.network.candidate import SCALES, Family
from sr_core.network.colour import CHANNELS
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.record import Record, Sha256, Text, read_record


class _SupernetDescriptor(Record):
    """What the descriptor of a shipped supernet must say, at least."""

    model_config = ConfigDict(extra="allow")

    spec: dict[str, Any] = Field(min_length=1)
    weights_sha256: Sha256
    training: list[dict[str, Any]] = Field(min_length=1)
    """One record per run."""
    data_sha256: Sha256
    validation_crops_sha256: Sha256
    licence: Text


def verify(catalogue: Catalogue) -> list[str]:
    """List every damage, one sentence each. The list is empty if all is well."""
    try:
        manifest = catalogue.manifest
    except CatalogueError as error:
        return [str(error)]
    present = set(files_below(catalogue.root))
    problems = [f"{name} is missing." for name in sorted(manifest.keys() - present)]
    problems += [
        f"{name} is not listed in manifest.json." for name in sorted(present - manifest.keys())
    ]
    problems += [
        f"{name} does not match its checksum in manifest.json."
        for name in sorted(manifest.keys() & present)
        if sha256(catalogue.root / name) != manifest[name]
    ]
    checks = (
        _check_supernets, _check_quality, _check_fronts, _check_devices,
        _check_finals, _check_stage_3, _check_replaced,
        _check_rivals, _check_rival_bench,
        _check_published, _check_engine_bench,
        _check_samplers, _check_workers, _check_ablations,
    )  # fmt: skip
    for check in checks:
        try:
            problems += check(catalogue)
        except (CatalogueError, LatencyError) as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def _check_supernets(catalogue: Catalogue) -> list[str]:
    problems: list[str] = []
    for family in catalogue.families:
        try:
            catalogue.supernet(family)
            path = catalogue.root / f"supernets/{family.name}.json"
            read_record(
                path, _SupernetDescriptor, remake="restore it, or publish the weights again"
            )
        except CatalogueError as error:
            problems.append(str(error))
    return problems


def _check_quality(catalogue: Catalogue) -> list[str]:
    """Check that stored results are of shipped weights and listed models, or bicubic's."""
    model_ids = {model.id for model in catalogue.models()} | {
        bicubic_id(s) for s in catalogue.scales
    }
    foreign = sorted({q.model_id for q in catalogue.quality} - model_ids)
    problems = [f"{QUALITY} holds results of {name}, which is no listed model." for name in foreign]
    if any(q.protocol != PROTOCOL for q in catalogue.quality):
        problems.append(f"{QUALITY} holds results of another protocol than {PROTOCOL}.")
    return problems


def _check_stage_3(catalogue: Catalogue) -> list[str]:
    """Check that what is stored of stage 3 is sound, and names layers of its network."""
    problems: list[str] = []
    for final in catalogue.finals():
        stage_3, layers = catalogue.stage_3(final), dict(final.candidate.layers())
        if stage_3 and any(curve.layer not in layers for curve in stage_3.curves):
            problems.append(f"models/{final.name}.stage3.json has curves of other layers.")
    return problems


def _check_devices(catalogue: Catalogue) -> list[str]:
    """Check that shipped profiles are sound, called by their id, of no "this computer"."""
    problems: list[str] = []
    for path in sorted((catalogue.root / "devices").glob("*.json")):
        profile = read_profile(path)
        if profile.id != path.stem or profile.basis == "measured here":
            problems.append(
                f"devices/{path.name} is profile {profile.id!r}, {profile.basis}: expected "
                "its id as file name, and no profile of this computer."
            )
        if profile.runtime_id == "sparse" and profile.library is None:
            problems.append(
                f"devices/{path.name} does not name the engine's library that it was measured "
                "with: run `measure --ship`."
            )
    return problems


def _check_rivals(catalogue: Catalogue) -> list[str]:
    """Check that every rival is sound, published, and measured with its own weights."""
    problems: list[str] = []
    for rival in (rival for scale in SCALES for rival in catalogue.rivals(scale)):
        if not rival.quality or not rival.descriptor.licence:
            problems.append(f"{rival.id} has no results or licence: use `publish-rival`.")
        if any((q.model_id, q.protocol) != (rival.id, PROTOCOL) for q in rival.quality):
            problems.append(f"{rival.id} has results of other weights or another protocol.")
    return problems


def _check_rival_bench(catalogue: Catalogue) -> list[str]:
    """Check that networks that were timed still have the weights of their PSNR."""
    rows = catalogue.rival_bench.rows if catalogue.rival_bench else ()
    ids = {rival.id for scale in SCALES for rival in catalogue.rivals(scale)}
    for row in rows:
        if row.network != row.rival and row.model_id not in ids:
            with suppress(InvalidCandidate):  # a final model that is gone
                ids.add(catalogue.network_of(row.network).model_id)
    return [
        f"{RIVAL_BENCH} is of {name} with other weights: run `bench rivals --store`."
        for name in sorted({row.network for row in rows if row.model_id not in ids})
    ]


def _check_published(catalogue: Catalogue) -> list[str]:
    _ = catalogue.published_models  # raises what is wrong
    return []


def _check_engine_bench(catalogue: Catalogue) -> list[str]:
    _ = catalogue.engine_benches  # raises what is wrong
    return []


def _check_samplers(catalogue: Catalogue) -> list[str]:
    bench = catalogue.sampler_bench
    return (
        _of_earlier(
            catalogue, SAMPLER_BENCH, Family(bench.scale, bench.colour), bench.weights_sha256
        )
        if bench
        else []
    )


def _check_workers(catalogue: Catalogue) -> list[str]:
    bench = catalogue.worker_bench
    return (
        _of_earlier(
            catalogue, WORKER_BENCH, Family(bench.scale, bench.colour), bench.weights_sha256
        )
        if bench
        else []
    )


def _check_ablations(catalogue: Catalogue) -> list[str]:
    return [
        problem
        for one in catalogue.ablations
        for problem in _of_earlier(
            catalogue, ABLATIONS, Family(one.scale, one.colour), one.supernet_sha256
        )
    ]


def _of_earlier(catalogue: Catalogue, name: str, family: Family, supernet_sha256: str) -> list[str]:
    """Check that results are of the shipped supernet."""
    if catalogue.supernet(family).sha256 == supernet_sha256:
        return []
    command = {ABLATIONS: "ablation", SAMPLER_BENCH: "samplers", WORKER_BENCH: "workers"}[name]
    return [f"{name} is of earlier {family.name} weights: run `bench {command} --store` again."]


def _check_fronts(catalogue: Catalogue) -> list[str]:
    problems: list[str] = []
    for family in (Family(scale, colour) for scale in SCALES for colour in CHANNELS):
        try:
            catalogue.front(family)
        except CatalogueError as error:
            problems.append(str(error))
    return problems


def _check_finals(catalogue: Catalogue) -> list[str]:
    """Check that names are free, and results of the right weights."""
    names = {model.name for model in catalogue.models()}
    problems = [
        f"models/{final.name}.json has the name of a model of the supernet."
        for final in catalogue.finals()
        if final.name in names
    ]
    return problems + [p for final in catalogue.finals() for p in final.problems()]


def _check_replaced(catalogue: Catalogue) -> list[str]:
    """Check that what was replaced is gone, and that its successor is there."""
    models = [*catalogue.models(), *catalogue.finals()]
    names, ids = {model.name for model in models}, {model.id for model in models}
    return [
        f"{REPLACED} says that {old} was replaced by {name}: expected an old name or id, and the "
        "name of a listed model."
        for old, name in catalogue.replaced.items()
        if old in names | ids or name not in names
    ]
