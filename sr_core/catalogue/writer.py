"""The one writer of precomputed/: weights, results and the manifest that seals them.

Every file is replaced whole or not at all. Callers write inside `changing`, which seals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from sr_core.engine.shipped import INSTRUCTIONS
from sr_core.errors import CatalogueError, UpFrontError
from sr_core.files import check_target, kept, sha256, write_atomic
from sr_core.network.candidate import Family
from sr_core.network.weights import read_descriptor, read_supernet
from sr_core.results.ablations import Ablation
from sr_core.results.engine import EngineBench
from sr_core.results.quality import Quality
from sr_core.results.record import to_json
from sr_core.results.rivals import RivalBench
from sr_core.results.samplers import SamplerBench, WorkerBench
from sr_core.rivals.weights import Descriptor as RivalDescriptor

LICENCE = "Weights: research, teaching and evaluation only; see LICENSE.md."
"""Note in every published descriptor; LICENSE.md is that of the precomputed folder."""
MANIFEST = "manifest.json"
SUPERNETS, NEXT = "supernets", "supernets/next"
QUALITY = "results/quality.json"
ENGINE_BENCH = "results/engine-{}.json"
"""With the name of an instruction set, as in `engine.shipped`."""
RIVAL_BENCH = "results/rivals.json"
ABLATIONS = "results/ablations.json"
SAMPLER_BENCH = "results/samplers.json"
WORKER_BENCH = "results/workers.json"
_LOCK = ".lock"


def write_quality(root: Path, rows: Iterable[Quality]) -> None:
    """Replace the stored results."""
    text = json.dumps([row.model_dump(exclude_none=True) for row in rows], indent=1) + "\n"
    write_file(root / QUALITY, text)


def write_search_bench(root: Path, bench: SamplerBench | WorkerBench) -> None:
    """Replace results/samplers.json or workers.json."""
    name = SAMPLER_BENCH if isinstance(bench, SamplerBench) else WORKER_BENCH
    write_file(root / name, to_json(bench))


def write_engine_bench(root: Path, bench: EngineBench) -> None:
    """Replace the stored times of the engine with this instruction set."""
    (option,) = (name for name, title in INSTRUCTIONS.items() if title == bench.instructions)
    write_file(root / ENGINE_BENCH.format(option), to_json(bench))


def write_rival_bench(root: Path, bench: RivalBench) -> None:
    """Replace the stored times of the rivals."""
    write_file(root / RIVAL_BENCH, to_json(bench))


def write_ablations(root: Path, ablations: Iterable[Ablation]) -> None:
    """Replace the stored ablations."""
    write_file(root / ABLATIONS, to_json(tuple(ablations)))


def install_rival(root: Path, weights: Path, descriptor: RivalDescriptor) -> None:
    """Copy a trained rival into `root`, with what was measured on it."""
    target = root / "rivals" / weights.name
    write_file(target, weights.read_bytes())
    write_file(target.with_suffix(".json"), to_json(descriptor))


@contextmanager
def changing(root: Path) -> Generator[None]:
    """Keep other threads and processes from changing `root`: re-read, change and write inside.

    Do long work before, because others wait. On the way out the manifest is sealed, unless
    something was raised. Raises `RuntimeError` if this thread is inside already.
    """
    try:
        lock = FileLock(root / _LOCK).acquire()
    except OSError as error:
        raise CatalogueError(f"Cannot write {root} ({error}): check its permissions.") from error
    with lock:
        yield
        _seal(root)


def check_writable(root: Path, *names: str) -> None:
    """Raise `CatalogueError`, before long work, if these files of `root` cannot be written.

    A root that is not there is left to whoever reads it first.
    """
    if root.is_dir():
        for name in (_LOCK, MANIFEST, *names):
            check_target(root / name, CatalogueError)


@contextmanager
def keeping(result: Callable[[], str]) -> Generator[None]:
    """Keep the JSON text of a result in another file if it cannot be stored inside."""
    try:
        yield
    except UpFrontError as error:
        raise type(error)(f"{error} {kept('.json', result())}") from error


def is_changing(root: Path) -> bool:
    """Return whether somebody is inside `changing`, or may be. This process counts too.

    Who must not write to the lock cannot tell.
    """
    lock = root / _LOCK
    if not lock.exists():  # nobody is, and asking must not make one
        return False
    try:
        with FileLock(lock, blocking=False):
            return False
    except OSError:  # filelock's Timeout is one too
        return True


def _seal(root: Path) -> None:
    checksums = {name: sha256(root / name) for name in files_below(root)}
    write_file(root / MANIFEST, json.dumps(checksums, indent=1) + "\n")


def install_supernet(root: Path, weights: Path, folder: str = SUPERNETS) -> Family:
    """Copy a trained supernet into `root` with the licence note, and return its family.

    In the folder `NEXT` it is sealed and listed nowhere: weights that are still in training.
    """
    family = read_supernet(weights).spec.family  # refuses damaged weights, nothing is replaced yet
    target = root / folder / f"{family.name}.safetensors"
    write_file(target, weights.read_bytes())
    descriptor = read_descriptor(weights) | {"licence": LICENCE}
    write_file(target.with_suffix(".json"), json.dumps(descriptor, indent=2) + "\n")
    keep_history(weights, target, "log.csv", "curve.png")
    return family


def stage_3_path(root: Path, name: str) -> Path:
    """Return the file that tells how the ratios of a final model came about."""
    return root / f"models/{name}.stage3.json"


def keep_history(weights: Path, target: Path, *names: str) -> None:
    """Copy files of a run's folder, where it has them, beside the installed weights."""
    for name in names:
        record = weights.with_name(name)
        if record.is_file():
            write_file(target.with_suffix(record.suffix), record.read_bytes())


def write_file(path: Path, data: bytes | str) -> None:
    """Replace one file. Raises `CatalogueError` if it cannot be written."""
    try:
        write_atomic(path, data)
    except OSError as error:
        raise CatalogueError(f"Cannot write {path} ({error}): free some space first.") from error


def files_below(root: Path) -> list[str]:
    """List the relative paths of all files that the manifest covers."""
    paths = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(n for n in (p.relative_to(root).as_posix() for p in paths) if n != MANIFEST)
