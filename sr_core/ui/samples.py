"""Sample images: charts drawn by us and photographs that scikit-image bundles."""

from __future__ import annotations

from pathlib import Path

import skimage

from sr_core.files import REPOSITORY

_ASSETS = REPOSITORY / "assets" / "samples"
_PHOTOS = {
    "chelsea.png": "Cat", "astronaut.png": "Astronaut", "coffee.png": "Coffee",
    "rocket.jpg": "Rocket", "camera.png": "Camera (grey)",
}  # fmt: skip


def paths() -> list[Path]:
    """Return the files that exist here, photographs first."""
    photos = (Path(skimage.__file__).parent / "data" / name for name in _PHOTOS)
    return [path for path in (*photos, *sorted(_ASSETS.glob("*.png"))) if path.is_file()]


def label(path: Path) -> str:
    """Return what people call a sample."""
    return _PHOTOS.get(path.name) or path.stem.replace("_", " ").capitalize()
