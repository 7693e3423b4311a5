"""Latency of a candidate on a device profile: total, 90 % interval, per layer, and its basis.

The model is a sum over the convolutions that `sr_core.network.layers.timed` lists. Nothing is
priced at zero for being unknown: what a profile was not fitted to is priced with the nearest
coefficients it has, counts as extrapolated, lowers `coverage` and widens the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sr_core.errors import LatencyError
from sr_core.latency.profile import BASES, Basis, Costs, DeviceProfile, Range, SparsityAssumption
from sr_core.latency.work import TERMS, Work, kind, workload
from sr_core.network.blocks import Scheme, block_of
from sr_core.network.candidate import Candidate
from sr_core.network.layers import OUTPUT_SIZE, ConvLayer, lr_size, timed

CONFIDENCE = 0.9
FINE_GRAINED: tuple[Scheme, ...] = ("block", "pattern", "unstructured")
"""Schemes that leave a mask; only a sparse kernel can gain time from them."""
_MAX_SIDE = 8192
_NOTHING = SparsityAssumption(share=0, low=0, high=0)


@dataclass(frozen=True)
class LayerLatency:
    """One layer's share of the total."""

    name: str
    ms: float
    basis: Basis


@dataclass(frozen=True)
class LatencyEstimate:
    """An estimate for one frame. `per_layer` sums to `total_ms`."""

    profile_id: str
    threads: int | None
    output: tuple[int, int]
    """Width and height of the output frame."""
    total_ms: float
    low_ms: float
    high_ms: float
    """The interval holds the true latency with `confidence`, as far as the profile knows."""
    per_layer: tuple[LayerLatency, ...]
    coverage: float
    """Share of `total_ms` in layers that are inside the profile's scope."""
    basis: Basis
    """The weakest among the layers."""
    notes: tuple[str, ...]
    """What is not covered, in sentences."""
    sparsity_share: float | None
    """Assumed share of skipped MACs that saves time; None where nothing is assumed."""
    confidence: float = CONFIDENCE


def estimate(
    profile: DeviceProfile,
    candidate: Candidate,
    *,
    output: tuple[int, int] = OUTPUT_SIZE,
    threads: int | None = None,
    sparsity_share: float | None = None,
) -> LatencyEstimate:
    """Price one frame.

    Args:
        output: width and height of the output frame, multiples of the scale up to 8192.
        threads: one of `profile.threads`; None takes the default.
        sparsity_share: replaces the assumed share of `profile.sparsity`, 0 to 1; ignored where
            nothing is assumed.

    Raises:
        LatencyError: an output size or thread count that cannot be priced.
    """
    layers = timed(candidate, *_lr_size(output, candidate.scale))
    setting = profile.setting(threads)
    share = _assumption(profile, sparsity_share)
    works = workload(profile, setting.threads)(layers)
    in_scope = [_in_scope(profile, layer) for layer in layers]
    size_in_scope = _within(layers[0].height * layers[0].width / 1e6, profile.scope.lr_mpx)
    per_layer: list[LayerLatency] = []
    low_ms = high_ms = 0.0
    for layer, work, inside in zip(layers, works, in_scope, strict=True):
        basis, factor = _standing(profile, layer, inside, size_in_scope)
        dense_ms, arithmetic_ms = _price(setting.costs[kind(layer)], work)
        removed_ms = arithmetic_ms * _masked_share(layer)
        low_ms += (dense_ms - share.high * removed_ms) / factor
        high_ms += (dense_ms - share.low * removed_ms) * factor
        per_layer.append(LayerLatency(layer.name, dense_ms - share.share * removed_ms, basis))
    total_ms = sum(layer.ms for layer in per_layer)
    covered_ms = sum(layer.ms for layer in per_layer if layer.basis == profile.basis)
    return LatencyEstimate(
        profile.id, setting.threads, output, total_ms, low_ms, high_ms, tuple(per_layer),
        covered_ms / total_ms, BASES[max(BASES.index(layer.basis) for layer in per_layer)],
        _notes(profile, layers, in_scope, size_in_scope),
        None if profile.sparsity is None else share.share,
    )  # fmt: skip


def _lr_size(output: tuple[int, int], scale: int) -> tuple[int, int]:
    width, height = output
    if not all(0 < side <= _MAX_SIDE and side % scale == 0 for side in output):
        raise LatencyError(
            f"Output {width}x{height} has no x{scale} input: expected sides that are multiples "
            f"of {scale}, up to {_MAX_SIDE}."
        )
    return lr_size(scale, output)


def _price(costs: Costs, work: Work) -> tuple[float, float]:
    """Return (ms of the layer if masks gained nothing more, ms of it that is arithmetic)."""
    times = dict(zip(TERMS, work, strict=True))
    ms = {term: getattr(costs, term) * count for term, count in times.items()}
    return sum(ms.values()), ms["ms_per_gmac"] + ms["ms_per_gmac_single"]


def _assumption(profile: DeviceProfile, share: float | None) -> SparsityAssumption:
    if profile.sparsity is None:
        return _NOTHING
    if share is None:
        return profile.sparsity
    if not 0 <= share <= 1:
        raise LatencyError(f"The share of skipped MACs that saves time is 0 to 1, got {share}.")
    low, high = min(profile.sparsity.low, share), max(profile.sparsity.high, share)
    return SparsityAssumption(share=share, low=low, high=high)


def _masked_share(layer: ConvLayer) -> float:
    """Return the share of the weights that fine-grained pruning removes, 0 without."""
    if layer.pruning.scheme not in FINE_GRAINED:
        return 0.0
    return 1 - layer.weights_kept / (layer.in_channels * layer.out_channels * layer.kernel**2)


def part(layer: ConvLayer) -> str:
    """Return the part of the network that a layer belongs to: a block, or its role."""
    return block_of(layer.name) if layer.role == "cell" else layer.role


def _in_scope(profile: DeviceProfile, layer: ConvLayer) -> bool:
    if part(layer) not in profile.scope.parts or kind(layer) not in profile.scope.channels:
        return False
    inputs, outputs = profile.scope.channels[kind(layer)]
    return _within(layer.in_channels, inputs) and _within(layer.out_channels, outputs)


def _within(value: float, limits: Range) -> bool:
    return limits[0] <= value <= limits[1]


def _standing(
    profile: DeviceProfile, layer: ConvLayer, in_scope: bool, size_in_scope: bool
) -> tuple[Basis, float]:
    """Return a layer's basis and the factor of its interval.

    Both depend on whether the layer and the frame size are in scope.
    """
    assumed = profile.sparsity is not None and _masked_share(layer) > 0
    spread = profile.spread
    factor = spread.inside if in_scope and not assumed else spread.outside
    if not size_in_scope:
        factor *= spread.other_size
    if assumed:
        return "assumed", factor
    return profile.basis if in_scope and size_in_scope else "extrapolated", factor


def _notes(
    profile: DeviceProfile,
    layers: Sequence[ConvLayer],
    in_scope: Sequence[bool],
    size_in_scope: bool,
) -> tuple[str, ...]:
    notes: list[str] = []
    if profile.basis == "measured with an earlier engine":
        notes.append("Measured with an earlier engine, so the interval is wider: measure again.")
    outside = sorted(
        {
            _name(profile, part(layer))
            for layer, inside in zip(layers, in_scope, strict=True)
            if not inside
        }
    )
    if outside:
        notes.append(f"Extrapolated, not among the fitted layers: {', '.join(outside)}.")
    if not size_in_scope:
        notes.append("Extrapolated: the frame size is outside what the profile was fitted to.")
    if profile.runtime_id != "sparse" and any(_masked_share(layer) for layer in layers):
        notes.append(
            "No gain from masks: this runtime computes block, pattern and unstructured layers "
            "as dense ones."
            if profile.sparsity is None
            else "Assumed: how much time fine-grained sparsity saves; nobody measured it here."
        )
    return tuple(notes)


_NAMES = {
    "head": "head",
    "tail": "tail",
    "input_skip": "input skip and pixel shuffle",
    "chroma": "chroma beside a luma network",
}


def _name(profile: DeviceProfile, part: str) -> str:
    """Name a part that lies outside the scope. A fitted block lies outside for its channels."""
    return _NAMES.get(part, f"{part} blocks{' of these widths' * (part in profile.scope.parts)}")
