"""Sample images: charts drawn by us and photographs that scikit-image bundles."""

from __future__ import annotations

from pathlib import Path

import skimage

_ASSETS = Path(__file__).parents[2] / "assets" / "samples"
_PHOTOS = ("chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg", "camera.png")


def paths() -> list[Path]:
    """Files that exist here, photographs first."""
    photos = (Path(skimage.__file__).parent / "data" / name for name in _PHOTOS)
    return [path for path in (*photos, *sorted(_ASSETS.glob("*.png"))) if path.is_file()]
