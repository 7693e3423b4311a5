"""What the buttons do, without Gradio: upscale as is, or test against the original."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from sr_core.catalogue.store import Catalogue
from sr_core.errors import InvalidImage
from sr_core.network.candidate import Candidate
from sr_core.quality.datasets import downscale
from sr_core.quality.metrics import Image8, psnr_rgb, psnr_y, ssim_y
from sr_core.runtime import image as images
from sr_core.runtime.read import MIN_SIDE
from sr_core.runtime.upscale import Report, Upscaler

Mode = Literal["upscale", "test"]
VIEW_SIDE = 1600
"""Pixels a side of what the comparison shows; larger results are cropped to their centre."""
_KEPT_SESSIONS = 4


@dataclass(frozen=True)
class Score:
    """Quality against the original image, by the protocol of `quality.metrics`."""

    psnr_y_db: float
    ssim_y: float
    psnr_rgb_db: float | None = None
    """None of a greyscale image."""


@dataclass(frozen=True)
class Outcome:
    """What one network made of the image."""

    candidate: Candidate
    model_id: str
    result: Image.Image
    elapsed_ms: float
    """Wall time of the upscaling itself, tiles and rounding included, session start not."""
    runtime: str
    """What it was measured with."""
    score: Score | None
    """None unless the mode was `test`."""


@dataclass(frozen=True)
class Comparison:
    """Several networks on one image, next to bicubic interpolation and, in a test, the truth."""

    lr_size: tuple[int, int]
    """Width and height of what the networks read."""
    truth: Image.Image | None
    bicubic: Image.Image
    bicubic_score: Score | None
    outcomes: tuple[Outcome, ...]
    note: str
    """What the test left out of the image, in a sentence; empty if nothing."""


class Upscalers:
    """The last few sessions, so that a second run starts at once. Thread-safe.

    Each keeps its weights and, on the engine, a few rows of every layer.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._sessions: OrderedDict[str, Upscaler] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, candidate: Candidate, final: str = "") -> Upscaler:
        """Return a session for `candidate`.

        It has the weights of the final model called `final`, or without one those of the supernet.
        """
        catalogue = self._catalogue
        key = final or candidate.id
        with self._lock:
            if key not in self._sessions:
                network = catalogue.network_of(final) if final else catalogue.network(candidate)
                self._sessions[key] = Upscaler(network, catalogue.engine)
            self._sessions.move_to_end(key)
            while len(self._sessions) > _KEPT_SESSIONS:
                self._sessions.popitem(last=False)
            return self._sessions[key]


def compare(
    upscalers: Sequence[Upscaler],
    image: Image.Image,
    mode: Mode,
    *,
    report: Report | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Upscale `image`, or in `test` mode its bicubically shrunk version, with every network.

    Args:
        upscalers: networks of one scale, at least one.
        report: progress over the tiles of all networks.

    Raises:
        InvalidImage: what `upscale` refuses too, or too small to be tested.
        Cancelled: `should_stop` said so.
    """
    scale, note = upscalers[0].scale, ""
    reference: Image8 | None = None
    if mode == "test":
        original, note = _original(image, scale)
        lr, reference = downscale(original, scale)
        image = Image.fromarray(lr)
    size = (image.width * scale, image.height * scale)
    bicubic = _plain(image).resize(size, Image.Resampling.BICUBIC)
    outcomes = tuple(
        _outcome(upscaler, image, reference, _share(report, i, len(upscalers)), should_stop)
        for i, upscaler in enumerate(upscalers)
    )
    truth, baseline = None, None
    if reference is not None:
        truth, baseline = Image.fromarray(reference), _score(bicubic, reference, scale)
    return Comparison(image.size, truth, bicubic, baseline, outcomes, note)


def _outcome(
    upscaler: Upscaler,
    image: Image.Image,
    reference: Image8 | None,
    report: Report | None,
    should_stop: Callable[[], bool],
) -> Outcome:
    start = time.perf_counter()
    result = upscaler.upscale(image, report=report, should_stop=should_stop)
    elapsed_ms = (time.perf_counter() - start) * 1e3
    score = None if reference is None else _score(result, reference, upscaler.scale)
    network = upscaler.network
    return Outcome(network.candidate, network.model_id, result, elapsed_ms, upscaler.runtime, score)


def _share(report: Report | None, index: int, count: int) -> Report | None:
    """Turn progress of one of several equal jobs into progress of all."""
    if report is None:
        return None
    return lambda done, total: report(index * total + done, count * total)


def view(image: Image.Image) -> Image.Image:
    """Return the centre of `image` for display, as 8-bit RGB. Transparency is laid over white."""
    width, height = image.size
    left, top = max(0, width - VIEW_SIDE) // 2, max(0, height - VIEW_SIDE) // 2
    centre = _plain(
        image.crop((left, top, min(width, left + VIEW_SIDE), min(height, top + VIEW_SIDE)))
    )
    if centre.mode in {"LA", "RGBA"}:
        colours = centre.convert("RGBA")
        white = Image.new("RGBA", centre.size, "white")
        centre = Image.alpha_composite(white, colours)
    return centre.convert("RGB")


def _original(image: Image.Image, scale: int) -> tuple[Image8, str]:
    """Return what a test compares with, (H, W) or (H, W, 3), and a note of what it leaves out."""
    if min(image.size) < MIN_SIDE * scale:
        raise InvalidImage(
            f"The image has {image.width}x{image.height} pixels: to test x{scale}, it is shrunk "
            f"first and needs at least {MIN_SIDE * scale}x{MIN_SIDE * scale}."
        )
    planes = images.split(image)
    if planes.alpha is not None:
        return _eight_bit(planes.pixels), "Alpha was left out of the test."
    return _eight_bit(planes.pixels), "Tested at 8 bits." if planes.pixels.itemsize > 1 else ""


def _plain(image: Image.Image) -> Image.Image:
    """Return the image in 8 bits (L, LA, RGB or RGBA), to be interpolated and shown."""
    planes = images.split(image)
    return images.join(Image.fromarray(_eight_bit(planes.pixels)), planes)


def _eight_bit(pixels: images.Pixels) -> Image8:
    if pixels.itemsize == 1:
        return pixels.astype(np.uint8)
    return images.rounded(np.divide(pixels, 65535, dtype=np.float32), np.uint8)


def _score(image: Image.Image, reference: Image8, scale: int) -> Score:
    pixels = np.asarray(image)
    rgb_db = psnr_rgb(pixels, reference, shave=scale) if pixels.ndim == 3 else None
    psnr_db, ssim = (metric(pixels, reference, shave=scale) for metric in (psnr_y, ssim_y))
    return Score(psnr_db, ssim, rgb_db)
