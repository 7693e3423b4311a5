"""A trained rival on disk: folded weights in safetensors plus a JSON descriptor. No torch.

Tensor names are those of `rivals.arch.layout`, plus `.weight` and `.bias`; FSRCNN's deconvolution
is stored as the equal convolution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from safetensors.numpy import save

from sr_core.errors import CatalogueError, InvalidCandidate
from sr_core.files import read_tensors, write_atomic
from sr_core.network.candidate import DENSE, SCALES
from sr_core.network.extract import ExtractedLayer
from sr_core.network.plain import PlainNetwork
from sr_core.network.weights import INPUT_MEAN
from sr_core.results.quality import Quality
from sr_core.results.record import Record, Sha256, read_record, to_json
from sr_core.rivals.arch import (
    Architecture,
    Conv,
    Layout,
    architecture,
    deconvolution_taps,
    layout,
    nearest_weight,
)

Tensors = Mapping[str, NDArray[np.float32]]


class Descriptor(Record):
    """How a rival's weights came about, and what was measured on them."""

    model_config = ConfigDict(strict=False, allow_inf_nan=False)

    arch: str
    scale: int
    params: int
    macs_g: float
    """10^9 multiply-accumulates of a 1280x720 frame."""
    weights_sha256: Sha256
    training: list[dict[str, Any]] = Field(min_length=1)
    """One record per run: command, commit, settings, seed, checksums, processor."""
    data_sha256: Sha256
    validation_crops_sha256: Sha256
    validation_psnr_y_db: dict[str, float]
    """Of the architecture's name: PSNR-Y on the validation crops."""
    quality: list[Quality] = Field(default_factory=list[Quality])
    """Results on the benchmarks; empty until it is published."""
    licence: str = ""
    published: bool = False
    """Whether it sees luma alone and has PReLU, as published; else it is in RGB with ReLU."""


@dataclass(frozen=True)
class Rival:
    """A re-trained architecture at one scale."""

    arch: Architecture
    network: PlainNetwork
    descriptor: Descriptor

    @property
    def id(self) -> str:
        """Name of the files, and 8 hex digits of the weights' SHA-256."""
        return self.network.id

    @property
    def layout(self) -> Layout:
        """Its convolutions and their cost."""
        return layout(self.arch, self.network.scale, published=self.descriptor.published)

    @property
    def validation_psnr_db(self) -> float:
        """PSNR-Y on the crops that `descriptor.validation_crops_sha256` names."""
        return self.descriptor.validation_psnr_y_db[self.arch.name]

    @property
    def quality(self) -> tuple[Quality, ...]:
        """Results on the benchmarks."""
        return tuple(self.descriptor.quality)


def file_name(arch: Architecture, scale: int, *, published: bool = False) -> str:
    """Return a name like `ecbsr-m4c16-x4.safetensors`, or with `-published` before the scale."""
    return f"{arch.name}{'-published' * published}-x{scale}.safetensors"


def assemble(
    arch: Architecture, scale: int, tensors: Tensors, digest: str = "", *, published: bool = False
) -> PlainNetwork:
    """Return the network with these folded weights. Raises `CatalogueError` if they do not fit.

    `digest` is the SHA-256 of the file that they are from.
    """
    shape = layout(arch, scale, published=published)
    _check(tensors, _shapes(shape))

    def layer(conv: Conv) -> ExtractedLayer:
        weight, bias = tensors[f"{conv.name}.weight"], tensors[f"{conv.name}.bias"]
        mask = np.ones(weight.shape, dtype=np.bool_)
        slope = tensors[f"{conv.name}.slope"] if conv.prelu else None
        return ExtractedLayer(conv.name, weight, bias, mask, DENSE, conv.relu, slope)

    tail = layer(shape.tail)
    if arch.family == "fsrcnn":
        mask = _deconvolution_mask(scale, shape.colours)
        tail = replace(tail, mask=np.broadcast_to(mask, tail.weight.shape))
    cells = (tuple(layer(conv) for conv in shape.cell),) if shape.cell else ()
    return PlainNetwork(
        id=f"{Path(file_name(arch, scale, published=published)).stem}-{digest[:8]}",
        scale=scale,
        colour=shape.colour,
        input_mean=INPUT_MEAN,
        head=tuple(layer(conv) for conv in shape.head),
        cells=cells,
        tail=tail,
        input_skip=_nearest(scale, shape.colours) if shape.nearest else None,
    )


def write_rival(
    path: Path,
    arch: Architecture,
    scale: int,
    tensors: Tensors,
    fields: Mapping[str, Any],
    *,
    published: bool = False,
) -> None:
    """Write `path` (.safetensors) and its .json descriptor.

    `fields` holds the fields of `Descriptor`, but for those that follow from the weights.
    """
    data = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    shape = layout(arch, scale, published=published)
    descriptor = Descriptor(
        arch=arch.name,
        scale=scale,
        params=shape.params,
        macs_g=shape.macs / 1e9,
        weights_sha256=hashlib.sha256(data).hexdigest(),
        published=published,
        **fields,
    )
    write_atomic(path, data)
    write_atomic(path.with_suffix(".json"), to_json(descriptor))


def read_rival(path: Path) -> Rival:
    """Read `path` (.safetensors) and its descriptor.

    Raises `CatalogueError` if anything is off.
    """
    descriptor = _read_descriptor(path.with_suffix(".json"))
    try:
        arch = architecture(descriptor.arch)
        form = {"published": descriptor.published}
        if descriptor.scale not in SCALES or path.name != file_name(arch, descriptor.scale, **form):
            raise InvalidCandidate(f"It is of {arch.name} x{descriptor.scale}.")
    except InvalidCandidate as error:
        raise CatalogueError(f"{path.stem}.json is of another network. {error}") from None
    tensors, digest = read_tensors(path, descriptor.weights_sha256, remake="train it again")
    try:
        network = assemble(arch, descriptor.scale, tensors, digest, **form)
        return Rival(arch, network, descriptor)
    except CatalogueError as error:
        raise CatalogueError(f"{path.name} does not fit {arch.name}: {error}.") from None


def _read_descriptor(path: Path) -> Descriptor:
    remake = "restore it beside its weights, or publish again"
    descriptor = read_record(path, Descriptor, remake=remake)
    if descriptor.arch not in descriptor.validation_psnr_y_db:
        raise CatalogueError(
            f"{path.name} has no validation PSNR of {descriptor.arch}: restore it."
        )
    return descriptor


def _check(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if odd := sorted(shapes.keys() ^ tensors.keys()):
        raise CatalogueError(f"{'lacks' if odd[0] in shapes else 'has an unknown'} {odd[0]}")
    for name, expected in shapes.items():
        tensor = tensors[name]
        if tensor.shape != expected or tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            raise CatalogueError(
                f"{name} should be finite float32 {expected}, got {tensor.dtype} {tensor.shape}"
            )


def _shapes(shape: Layout) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for conv in shape.convs:
        weight = (conv.out_channels, conv.in_channels, conv.kernel, conv.kernel)
        shapes |= {f"{conv.name}.weight": weight, f"{conv.name}.bias": weight[:1]}
        if conv.prelu:
            shapes[f"{conv.name}.slope"] = weight[:1]
    return shapes


def _deconvolution_mask(scale: int, colours: int) -> NDArray[np.bool_]:
    """Return where the convolution that equals a deconvolution has weights.

    Its shape is (colours s^2, 1, k, k).
    """
    has_tap = deconvolution_taps(scale) >= 0
    kernels = [np.outer(rows, columns) for rows in has_tap for columns in has_tap]
    return np.array([kernels] * colours).reshape(colours * scale**2, 1, *kernels[0].shape)


def _nearest(scale: int, colours: int) -> ExtractedLayer:
    weight = nearest_weight(scale, colours)
    bias = np.zeros(len(weight), dtype=np.float32)
    return ExtractedLayer("nearest", weight, bias, weight > 0, DENSE, relu=False)
