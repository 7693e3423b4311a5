"""Pictures that the page hands out: the files that the command line would write."""

from __future__ import annotations

from pathlib import Path

from gradio.components import Component
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from sr_core.runtime.write import encoded


def cached_png(component: Component, image: Image.Image, name: str) -> Path:
    """Save `image` as a PNG, with its metadata, in the cache that Gradio serves and clears.

    `name`, without ending, is what browsers save it as. Raises `OSError` if the disk is full.
    """
    path = save_bytes_to_cache(encoded(image, "PNG"), f"{name}.png", component.GRADIO_CACHE)
    component.temp_files.add(path)  # so that `delete_cache` of the page finds it
    return Path(path)
