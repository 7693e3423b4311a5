"""This computer's own profiles, which `measure` keeps in the user's data folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sr_core.errors import LatencyError
from sr_core.latency.profile import DeviceProfile, of_earlier_engine, read_profile
from sr_core.machine import processor, user_data
from sr_core.results.record import Runtime

THIS_COMPUTER = "this-computer"
OWN: dict[Runtime, str] = {"sparse": THIS_COMPUTER, "onnx": f"{THIS_COMPUTER}-onnx"}
"""Ids of the profiles that `measure` makes, one per runtime."""


def own_device_path(runtime_id: Runtime = "sparse") -> Path:
    """Return where the profile is kept: the user's data folder, or $UPFRONT_DATA."""
    return user_data() / "devices" / f"{OWN[runtime_id]}.json"


def own_device(runtime_id: Runtime, version: Callable[[], str]) -> tuple[DeviceProfile | None, str]:
    """Return the profile, if there is a sound one, and a sentence on what is wrong, if anything is.

    One that was made on another processor, or with another version of the runtime than the
    present one, counts as measured elsewhere, and one of another build of the engine as measured
    with an earlier engine. `version` is asked only if there is a profile.
    """
    path = own_device_path(runtime_id)
    if not path.is_file():
        return None, ""
    try:
        profile = read_profile(path)
    except LatencyError as error:
        return None, f"This computer's own measurements are left out. {error}"
    now = version()
    if (profile.processor, profile.runtime) == (processor(), now):
        return profile, ""
    moved = profile
    if profile.processor != processor() or not _is_another_build(profile.runtime, now):
        title = f"{profile.processor}, {profile.runtime}"
        moved = profile.model_copy(update={"basis": "measured elsewhere", "title": title})
    if _is_another_build(profile.runtime, now):
        moved = of_earlier_engine(moved)
    return moved, (
        f"This computer's own measurements were made on {profile.processor} with "
        f"{profile.runtime}, now it is {processor()} with {now or 'no engine'}: measure again."
    )


def _is_another_build(before: str, now: str) -> bool:
    """Return whether two names of `runtime_version` are of the engine, with the same instructions.

    "UpFront engine 1, AVX2, library 1a2b3c4d" is one.
    """
    words, other = before.split(", "), now.split(", ")
    return len(words) == len(other) == 3 and words[1] == other[1] and before != now
