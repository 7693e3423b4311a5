"""Final models: one fine-tuned candidate on disk, safetensors plus a JSON descriptor. No torch.

The tensors are `{layer}.weight` and `{layer}.bias` as the runtimes take them: channels that
`channel` removed are gone, masked weights are zero. Masks are not stored: `layer_mask` finds them
again, because the largest magnitudes are exactly the weights that are not zero.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from safetensors.numpy import save

from sr_core.errors import CatalogueError, InvalidCandidate
from sr_core.files import read_tensors, write_atomic
from sr_core.network.blocks import BLOCKS
from sr_core.network.candidate import Candidate, model_id
from sr_core.network.checks import brief
from sr_core.network.extract import ExtractedLayer, ExtractedNetwork
from sr_core.network.layers import ConvLayer, describe, lr_size, totals
from sr_core.network.masks import layer_mask
from sr_core.network.notation import to_text
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.quality import Quality
from sr_core.results.record import Record, Sha256, Text, read_record

Arrays = Mapping[str, NDArray[np.float32]]
_NAME = re.compile("[a-z0-9][a-z0-9-]{0,39}")


class Predecessor(Record):
    """A final model whose place another one took."""

    model_config = ConfigDict(strict=False, allow_inf_nan=False)

    network: Text
    model_id: Text
    quality: list[Quality]


class Descriptor(Record):
    """How a final model came about and what was measured on it."""

    model_config = ConfigDict(strict=False, allow_inf_nan=False)

    candidate: dict[str, Any]
    network: Text
    """The candidate in the notation of `sr_core.network.notation`."""
    name: str = ""
    """Empty until it is published."""
    scale: int
    weights_sha256: Sha256
    supernet_sha256: Sha256
    """The weights that the first of the runs started from."""
    training: list[dict[str, Any]] = Field(min_length=1)
    """One record per run: command, commit, settings, seed, checksums, processor."""
    data_sha256: Sha256
    validation_crops_sha256: Sha256
    validation_psnr_y_db: dict[str, float]
    """Of `once_for_all` (the candidate with the supernet's weights) and `fine_tuned`."""
    quality: list[Quality] = Field(default_factory=list[Quality])
    once_for_all_quality: list[Quality] = Field(default_factory=list[Quality])
    predecessor: Predecessor | None = None
    """What it replaced; of several, the one of its name, else the first."""
    licence: str = ""
    reproduction: Text
    """The commands that lead from the supernet to these weights."""


@dataclass(frozen=True)
class Final:
    """A final model in memory."""

    network: ExtractedNetwork
    descriptor: Descriptor

    @property
    def name(self) -> str:
        """As `models` lists it, empty if it was not published."""
        return self.descriptor.name

    @property
    def id(self) -> str:
        """Model id: candidate and weights."""
        return self.network.model_id

    @property
    def candidate(self) -> Candidate:
        """Its architecture and pruning."""
        return self.network.candidate

    @property
    def quality(self) -> tuple[Quality, ...]:
        """Results of these weights."""
        return tuple(self.descriptor.quality)

    @property
    def once_for_all(self) -> tuple[Quality, ...]:
        """Results of the same candidate with the supernet's weights, possibly none."""
        return tuple(self.descriptor.once_for_all_quality)

    def problems(self) -> list[str]:
        """List what keeps the model from being shown, one sentence each."""
        before = model_id(self.candidate, self.descriptor.supernet_sha256)
        checks = (
            (bool(self.descriptor.licence), "has no licence note"),
            (all(q.model_id == self.id for q in self.quality), "holds results of other weights"),
            (
                all(q.model_id == before for q in self.once_for_all),
                "compares itself with other weights than it started from",
            ),
            (
                all(q.protocol == PROTOCOL for q in (*self.quality, *self.once_for_all)),
                f"holds results of another protocol than {PROTOCOL}",
            ),
        )
        where = f"models/{self.name}.json"
        return [f"{where} {what}: publish it again." for fine, what in checks if not fine]

    @property
    def params_kept(self) -> int:
        """Kept weights and biases."""
        return totals(describe(self.candidate, *lr_size(self.candidate.scale))).params_kept


def checked_name(name: str) -> str:
    """Return `name` if a model may be called so. Raises `CatalogueError` otherwise."""
    if not _NAME.fullmatch(name):
        raise CatalogueError(
            f"A model cannot be called {brief(name)}: expected up to 40 small letters, digits "
            "and hyphens."
        )
    return name


def tensors_of(network: ExtractedNetwork) -> dict[str, NDArray[np.float32]]:
    """Return `{layer}.weight` and `{layer}.bias` of every layer. Masked weights are zero."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for layer in network.layers:
        tensors[f"{layer.name}.weight"] = np.ascontiguousarray(layer.weight * layer.mask)
        tensors[f"{layer.name}.bias"] = np.ascontiguousarray(layer.bias)
    return tensors


def assemble(candidate: Candidate, tensors: Arrays, weights_sha256: str) -> ExtractedNetwork:
    """Return the network of a final model's tensors.

    Raises `CatalogueError` if they do not fit `candidate`.
    """
    shapes = {layer.name: layer for layer in describe(candidate, 1, 1)}
    expected = {f"{name}.{kind}" for name in shapes for kind in ("weight", "bias")}
    if odd := sorted(expected ^ tensors.keys()):
        verb = "lacks" if odd[0] in expected else "has an unknown"
        raise CatalogueError(f"the file {verb} {odd[0]}")
    inner: list[tuple[ExtractedLayer, ...]] = []
    for index, cell in enumerate(candidate.cells):
        convs = zip(candidate.cell_layers(index), BLOCKS[cell.block].fused, strict=True)
        layers = [_layer(shapes[name], tensors, relu=relu) for (name, *_), (_, relu) in convs]
        if layers:
            inner.append(tuple(layers))
    head, tail, skip = (_layer(shapes[name], tensors) for name in ("head", "tail", "input_skip"))
    identity = model_id(candidate, weights_sha256)
    return ExtractedNetwork(candidate, identity, head, tuple(inner), tail, skip)


def _layer(layer: ConvLayer, tensors: Arrays, *, relu: bool = False) -> ExtractedLayer:
    name = layer.name
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
    for key, value, expected in (("weight", weight, shape), ("bias", bias, shape[:1])):
        if value.dtype != np.float32 or value.shape != expected or not np.isfinite(value).all():
            raise CatalogueError(
                f"{name}.{key} should be finite float32 {expected}, got {value.dtype} {value.shape}"
            )
    if layer.pruning.scheme == "channel":  # the removed channels are not there
        mask = np.ones(shape, dtype=np.bool_)
    else:
        mask = layer_mask(weight, layer.pruning)
    if (weight[~mask] != 0).any():
        raise CatalogueError(
            f"{name} has weights outside its mask, which keeps {layer.weights_kept:,} "
            f"({layer.pruning.scheme} {layer.pruning.ratio:.2%})"
        )
    return ExtractedLayer(name, weight, bias, mask, layer.pruning, relu)


def write_final(path: Path, network: ExtractedNetwork, fields: Mapping[str, Any]) -> str:
    """Write `path` (.safetensors) and its .json descriptor, and return the weights' SHA-256.

    `fields` holds the fields of `Descriptor`, but for those that follow from the network.
    """
    data = save(tensors_of(network))
    digest = hashlib.sha256(data).hexdigest()
    candidate = network.candidate
    descriptor = {
        **fields,
        "candidate": candidate.to_json(),
        "network": to_text(candidate),
        "scale": candidate.scale,
        "weights_sha256": digest,
        "reproduction": reproduction(fields["training"]),
    }
    Descriptor.model_validate(descriptor)
    write_atomic(path, data)
    write_atomic(path.with_suffix(".json"), json.dumps(descriptor, indent=1) + "\n")
    return digest


def read_final(path: Path) -> Final:
    """Read `path` (.safetensors) and its descriptor. Raises `CatalogueError` if anything is off."""
    descriptor = read_descriptor(path)
    tensors, digest = read_tensors(path, descriptor.weights_sha256, remake="fine-tune again")
    try:
        candidate = Candidate.from_json(descriptor.candidate)
        if (candidate.scale, to_text(candidate)) != (descriptor.scale, descriptor.network):
            raise InvalidCandidate(f"it is {to_text(candidate)}, not {descriptor.network}")
    except InvalidCandidate as error:
        raise CatalogueError(f"{path.stem}.json: the candidate is off ({error}).") from None
    try:
        return Final(assemble(candidate, tensors, digest), descriptor)
    except CatalogueError as error:
        raise CatalogueError(
            f"{path.name} does not fit the candidate in {path.stem}.json: {error}."
        ) from None


def read_tuned_final(path: Path) -> Final:
    """Read a final model as `read_final` does, and check that it was fine-tuned.

    Raises `CatalogueError` if it was not: the first phase of `prune` leaves such files.
    """
    final = read_final(path)
    if not {"once_for_all", "fine_tuned"} <= final.descriptor.validation_psnr_y_db.keys():
        raise CatalogueError(
            f"{path} was not fine-tuned: expected the final.safetensors of a run folder itself, "
            "not of its folder regularised/."
        )
    return final


def read_descriptor(path: Path) -> Descriptor:
    """Read the descriptor beside a final model's `path`."""
    return read_record(
        path.with_suffix(".json"),
        Descriptor,
        remake="restore it beside its weights, or publish again",
    )


def reproduction(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the commands in order.

    Both phases of `prune` are one command. A resumed command has the settings it ended with.
    """
    commands: list[str] = []
    for record in history:
        if record.get("continues") in ("first phase", "checkpoint") and commands:
            commands.pop()
        commands.append(str(record.get("command", "")).replace(" --resume", ""))
    return " && ".join(commands)
