"""An image upload that hands over the file's own pixels and refuses bad files in one sentence."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from sr_core.errors import InvalidImage
from sr_core.runtime.read import MAX_PIXELS_UI, open_image


class ImageInput(gr.Image):
    """`gr.Image` whose value is read by `runtime.read.open_image`.

    Alpha, greyscale and 16-bit greyscale survive. EXIF orientation is applied.
    """

    is_template = True  # keeps the stock front end

    def preprocess(self, payload: ImageData | None) -> Image.Image | None:
        if payload is None or payload.path is None:
            return None
        try:
            return open_image(Path(payload.path), max_pixels=MAX_PIXELS_UI)
        except InvalidImage as error:
            raise gr.Error(str(error), print_exception=False) from None
