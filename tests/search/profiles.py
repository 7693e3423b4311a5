"""Small made-up device profiles for tests."""

from __future__ import annotations

from pathlib import Path

from sr_core.latency.profile import (
    Anchor,
    Costs,
    DeviceProfile,
    EngineLibrary,
    Scope,
    Setting,
    SparsityAssumption,
    Spread,
    profile_json,
)

WIDE_RANGE = ((1.0, 400.0), (1.0, 400.0))


def device(identity: str = "phone", *, sparse: bool = True) -> DeviceProfile:
    """A profile that knows all parts but residual blocks; with or without gain from masks."""

    def setting(threads: int) -> Setting:
        conv = Costs(launch_ms=0.01, ms_per_gmac=5 / threads, ms_per_mpx_in=0.2, ms_per_mpx_out=0.3)
        return Setting(
            threads=threads, costs=dict.fromkeys(("conv1x1", "conv3x3", "conv5x5"), conv)
        )

    return DeviceProfile(
        id=identity,
        title=f"Made-up {identity}",
        device="none",
        processor="none",
        runtime="none",
        precision="fp32",
        date="2025-01-01",
        basis="calibrated",
        channel_step=4,
        settings=(setting(1), setting(2)),
        scope=Scope(
            parts=("head", "wide", "tail", "input_skip"),
            channels=dict.fromkeys(("conv1x1", "conv3x3", "conv5x5"), WIDE_RANGE),
            lr_mpx=(0.01, 1.0),
        ),
        spread=Spread(inside=1.1, outside=1.5, other_size=1.2, source="made up"),
        sparsity=SparsityAssumption(share=0.6, low=0.3, high=0.9) if sparse else None,
        anchors=(Anchor(what="nothing", n=1, source="made up"),),
    )


def on_engine(identity: str = "engine") -> DeviceProfile:
    """A profile of the sparse engine that knows all parts."""
    parts = ("head", "wide", "residual", "tail", "input_skip")
    made_up = device(identity, sparse=False)
    conv = Costs(
        ms_per_gmac=9, ms_per_gmac_single=16, ms_per_mpx_in=0.1, ms_per_mpx_out=0.05,
        ms_per_mpx_in_far=0.4,
    )  # fmt: skip

    def setting(threads: int) -> Setting:
        costs = {term: value / threads for term, value in conv.model_dump().items()}
        kinds = ("conv1x1", "conv3x3", "conv5x5")
        return Setting(threads=threads, costs=dict.fromkeys(kinds, Costs(**costs)))

    return made_up.model_copy(
        update={
            "runtime_id": "sparse",
            "library": EngineLibrary(instructions="AVX2", sha256="0" * 64),
            "channel_step": 1,
            "column_step": 64,
            "near_mib": 1.5,
            "settings": (setting(1), setting(2)),
            "scope": made_up.scope.model_copy(update={"parts": parts}),
        }
    )


def install(root: Path, profile: DeviceProfile) -> None:
    """Put a profile into a precomputed folder; the manifest is left as it is."""
    path = root / "devices" / f"{profile.id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(profile_json(profile))
