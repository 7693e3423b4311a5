"""Put trained weights into precomputed/ and measure them: a supernet, or a final model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sr_core.catalogue.final import (
    Final,
    Predecessor,
    checked_name,
    read_tuned_final,
    write_final,
)
from sr_core.catalogue.replaced import write_replaced
from sr_core.catalogue.store import Catalogue, bicubic_id
from sr_core.catalogue.writer import (
    LICENCE,
    QUALITY,
    changing,
    check_writable,
    install_supernet,
    keep_history,
    stage_3_path,
    write_file,
    write_quality,
)
from sr_core.errors import CatalogueError, DatasetError
from sr_core.network.candidate import Family
from sr_core.network.extract import ExtractedNetwork
from sr_core.network.weights import read_spec
from sr_core.quality.benchmark import Upscale, bicubic_upscale, network_upscale, score
from sr_core.quality.datasets import BENCHMARKS, benchmark_pairs, folder_checksum
from sr_core.quality.folders import hr_images, paired_images
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.quality import Quality
from sr_core.results.record import to_json
from sr_core.results.stage3 import Stage3
from sr_core.runtime.upscale import Upscaler

VALIDATION = "Val"


@dataclass(frozen=True)
class ImageSet:
    """Images to measure on."""

    name: str
    hr: Path
    lr: Path | None
    """None: LR images are made from the HR images."""
    sha256: str
    """Over names and contents of the HR images and, where given, their LR images."""

    @classmethod
    def of(cls, name: str, hr: Path, lr: Path | None, scale: int) -> ImageSet:
        """Find and checksum the images. Raises `DatasetError` if some are missing."""
        checksum = folder_checksum(hr, hr_images(hr))
        if lr:
            small = [path for _, path in paired_images(hr, lr, scale)]
            both = f"HR {checksum} LR {folder_checksum(lr, small)}"
            checksum = hashlib.sha256(both.encode()).hexdigest()
        return cls(name, hr, lr, checksum)


def publish(
    root: Path,
    weights: Path,
    benchmark: Path,
    val: Path | None,
    *,
    report: Callable[[str], None],
) -> None:
    """Install `weights` in `root`, then measure bicubic and every preset, then seal the manifest.

    Ids of models of the family's earlier weights then name their successors.

    Args:
        root: the precomputed folder.
        weights: a trained supernet.safetensors with its descriptor.
        benchmark: holds Set5, Set14 and BSD100, each with HR/ and LRx<scale>/.
        val: validation images, scored as set "Val" with LR images made from them.
        report: gets a line per model.
    """
    family = read_spec(weights).family
    scale = family.scale
    check_writable(root, QUALITY)
    sets = _sets(benchmark, val, scale)
    before = _model_names(root, family)
    with changing(root):
        install_supernet(root, weights)
    catalogue = Catalogue(root)
    rows: list[Quality] = []

    def measure(name: str, identity: str, upscale: Upscale) -> None:
        rows.extend(_score(name, identity, sets, upscale, scale, report))

    measure("bicubic", bicubic_id(scale), bicubic_upscale(scale))
    for model in catalogue.models(family):
        upscaler = Upscaler(catalogue.network(model.candidate), catalogue.engine)
        measure(model.name, model.id, network_upscale(upscaler.upscale))
    with changing(root):
        now = Catalogue(root)
        measured = {row.model_id for row in rows}
        kept = [q for q in now.quality if q.model_id in _listed(now) - measured]
        write_quality(root, [*kept, *rows])
        names = {model.name for model in now.models(family)}
        new = {old: name for old, name in before.items() if name in names}
        write_replaced(root, new, _listed(now) | names)


def _model_names(root: Path, family: Family) -> dict[str, str]:
    """Return the id and name of each model of a family. None if its weights are not here."""
    try:
        return {model.id: model.name for model in Catalogue(root).models(family)}
    except CatalogueError:  # none yet, or damaged ones, which are replaced now
        return {}


def _listed(catalogue: Catalogue) -> set[str]:
    """Return the ids of all models of shipped supernets, and of the baselines."""
    scales = {bicubic_id(scale) for scale in catalogue.scales}
    return {model.id for model in catalogue.models()} | scales


def publish_final(
    root: Path,
    weights: Path,
    name: str,
    benchmark: Path,
    val: Path | None,
    *,
    stage_3: Callable[[], Stage3] | None = None,
    replaces: Collection[str] = (),
    report: Callable[[str], None],
) -> None:
    """Put a fine-tuned network into `root` as `name`, measured beside its once-for-all self.

    Its once-for-all self is measured only while the supernet that it started from is the shipped
    one. Final models called `name` or named by `replaces` make way: their names and ids then lead
    to the new one. Other arguments are as for `publish`. `weights` is a final.safetensors with its
    descriptor, `stage_3` returns what to store of how its ratios came about; it is long work, so it
    is called once all else was found to be in order.
    """
    catalogue, final = Catalogue(root), read_tuned_final(weights)
    if checked_name(name) in {model.name for model in catalogue.models()}:
        raise CatalogueError(f"{name} is a model of the supernet: give another --name.")
    old = _to_replace(catalogue, name, replaces)
    check_writable(root, f"models/{name}.safetensors")
    scale = final.candidate.scale
    sets = _sets(benchmark, val, scale)

    def measure(title: str, network: ExtractedNetwork) -> list[Quality]:
        upscale = network_upscale(Upscaler(network, catalogue.engine).upscale)
        return _score(title, network.model_id, sets, upscale, scale, report)

    changes = {
        "name": name,
        "licence": LICENCE,
        "quality": measure(name, final.network),
        "once_for_all_quality": [],
        "predecessor": _predecessor(final, old),
    }
    if catalogue.supernet(final.candidate.family).sha256 == final.descriptor.supernet_sha256:
        before = catalogue.network(final.candidate)
        changes["once_for_all_quality"] = measure("once for all", before)
    fields = final.descriptor.model_copy(update=changes).model_dump()
    found = stage_3() if stage_3 else None
    with changing(root):
        target = root / f"models/{name}.safetensors"
        write_final(target, final.network, fields)
        keep_history(weights, target, "log.csv")
        if found:
            write_file(stage_3_path(root, name), to_json(found))
        for one in old:
            if one.name != name:
                for path in root.glob(f"models/{one.name}.*"):
                    path.unlink()
        others = {f.name for f in catalogue.finals()} - {one.name for one in old}
        ids = {f.id for f in catalogue.finals()} - {one.id for one in old}
        models = {text for model in catalogue.models() for text in (model.name, model.id)}
        new = {text: name for one in old for text in (one.name, one.id)}
        write_replaced(root, new, models | others | ids | {name, final.id})


def _to_replace(catalogue: Catalogue, name: str, replaces: Collection[str]) -> list[Final]:
    """Return the final models that make way. Raises `CatalogueError` if one is not there."""
    finals = {final.name: final for final in catalogue.finals()}
    for one in replaces:
        if one not in finals:
            raise CatalogueError(
                f"--replaces {one}: there is no such final model; expected some of "
                f"{', '.join(finals) or 'none'}."
            )
    return [finals[one] for one in dict.fromkeys((name, *replaces)) if one in finals]


def _predecessor(final: Final, old: Sequence[Final]) -> Predecessor | None:
    """Describe what a final model takes the place of, None if it is new.

    The same weights, published again, took the place of what they did before.
    """
    first = next(iter(old), None)
    if first and first.id == final.id:
        return first.descriptor.predecessor
    return first and Predecessor(
        network=first.descriptor.network, model_id=first.id, quality=list(first.quality)
    )


def _sets(benchmark: Path, val: Path | None, scale: int) -> list[ImageSet]:
    more = [ImageSet.of(VALIDATION, val, None, scale)] if val else []
    return benchmark_sets(benchmark, scale) + more


def _score(
    name: str,
    identity: str,
    sets: list[ImageSet],
    upscale: Upscale,
    scale: int,
    report: Callable[[str], None],
) -> list[Quality]:
    results = list(score_sets(identity, sets, upscale, scale))
    values = "  ".join(f"{q.image_set} {q.psnr_y:.2f} dB {q.ssim_y:.4f}" for q in results)
    report(f"{name:24} {values}")
    return results


def benchmark_sets(benchmark: Path, scale: int) -> list[ImageSet]:
    """Return Set5, Set14 and BSD100. Raises `DatasetError` if something is missing."""
    return [ImageSet.of(name, *_set_folders(benchmark / name, scale), scale) for name in BENCHMARKS]


def score_sets(
    identity: str, sets: list[ImageSet], upscale: Upscale, scale: int
) -> Iterator[Quality]:
    """Score one model, which `identity` names, on each of the sets."""
    for images in sets:
        result = score(benchmark_pairs(images.hr, images.lr, scale), upscale, scale=scale)
        yield Quality(
            model_id=identity, image_set=images.name, image_set_sha256=images.sha256,
            protocol=PROTOCOL, n=result.n, psnr_y=result.psnr_y, ssim_y=result.ssim_y,
            psnr_rgb=result.psnr_rgb,
        )  # fmt: skip


def _set_folders(folder: Path, scale: int) -> tuple[Path, Path]:
    hr, lr = folder / "HR", folder / f"LRx{scale}"
    for path in (hr, lr):
        if not path.is_dir():
            raise DatasetError(f"{path} is missing: expected {folder.name}/HR and /LRx{scale}.")
    return hr, lr
