"""This computer's own profile, which `measure` keeps in the user's data folder."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sr_core.errors import LatencyError
from sr_core.latency.profile import DeviceProfile, read_profile
from sr_core.machine import processor, user_data

THIS_COMPUTER = "this-computer"
"""Id of the profile that `measure` makes."""


def own_device_path() -> Path:
    """Where the profile is kept: the user's data folder, or $UPFRONT_DATA."""
    return user_data() / "devices" / f"{THIS_COMPUTER}.json"


def own_device() -> tuple[DeviceProfile | None, str]:
    """The profile, if there is a sound one, and a sentence on what is wrong (empty: nothing).

    One that was made on another processor or with another ONNX Runtime counts as measured
    elsewhere.
    """
    path = own_device_path()
    if not path.is_file():
        return None, ""
    try:
        profile = read_profile(path)
    except LatencyError as error:
        return None, f"This computer's own measurements are left out. {error}"
    if (profile.processor, profile.runtime) == (processor(), runtime()):
        return profile, ""
    moved = profile.model_copy(
        update={"basis": "measured elsewhere", "title": f"{profile.processor}, {profile.runtime}"}
    )
    return moved, (
        f"This computer's own measurements were made on {profile.processor} with "
        f"{profile.runtime}, now it is {processor()} with {runtime()}: measure again."
    )


def runtime() -> str:
    """Name and version of the runtime that is timed."""
    try:
        return f"ONNX Runtime {version('onnxruntime')}"
    except PackageNotFoundError:  # a build under another name (onnxruntime-gpu, say)
        return "ONNX Runtime"
