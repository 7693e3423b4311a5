"""The documented endpoints, for scripts: models, front, estimate and upscale."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api
from PIL import Image

from sr_core.catalogue.store import Model
from sr_core.errors import InvalidImage
from sr_core.network.candidate import Candidate
from sr_core.network.layers import describe, lr_size, totals
from sr_core.network.notation import to_text
from sr_core.runtime.read import MAX_PIXELS_UI
from sr_core.search.front import non_dominated
from sr_core.ui import comparison
from sr_core.ui.components.image_input import ImageInput
from sr_core.ui.components.picture import cached_png
from sr_core.ui.friendly import friendly
from sr_core.ui.pricing import Pricing
from sr_core.ui.state import CORES
from sr_core.ui.view import View, make_view, pick, size_text


def add_api(pricing: Pricing, upscalers: comparison.Upscalers) -> None:
    """Add the endpoints to the page that is being built. Everything else on it is private."""
    catalogue = pricing.catalogue

    def target(scale: int, colour: str, device: str, size: str, threads: int) -> View:
        """Make a view. Unlike the page, it refuses threads that the device does not have."""
        catalogue.device(device or None).setting(threads or None)
        return make_view(
            catalogue, scale=scale, colour=colour, device=device or None, size=size,
            threads=threads or None,
        )  # fmt: skip

    def about(view: View, candidate: Candidate) -> dict[str, Any]:
        result = pricing.estimate(view, candidate)
        return {
            "coverage": result.coverage, "basis": result.basis, "device": view.device,
            "size": size_text(view.size), "threads": view.threads,
        }  # fmt: skip

    def models() -> list[dict[str, Any]]:
        """The listed networks, the fine-tuned ones last (kind "final"): name, notation, parameters,
        MACs and measured PSNR/SSIM."""
        entries = [*catalogue.models(), *map(Model.of_final, catalogue.finals())]
        return [{**model.summary(), "network": to_text(model.candidate)} for model in entries]

    def front(
        scale: int = 4, device: str = "", size: str = "1280x720", threads: int = 0,
        colour: str = "rgb",
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Networks not beaten in both latency and PSNR on a device (empty: the first; threads 0:
        its default). Latency is estimated, with a 90 % interval; PSNR-Y is measured on the
        validation crops. Colour: rgb, or luma networks."""
        with friendly():
            view = target(scale, colour, device, size, threads)
            points = pricing.points(view)
        return [
            {
                "network": to_text(points.candidates[i]),
                "latency_ms": float(points.cost[i]),
                "low_ms": float(points.low[i]),
                "high_ms": float(points.high[i]),
                "psnr_y_db": float(points.quality[i]),
                "macs_g_1280x720": float(points.macs_g[i]),
                "params_k": float(points.params_k[i]),
                **about(view, points.candidates[i]),
            }
            for i in non_dominated(points.cost, points.quality).nonzero()[0]
        ]

    def estimate(
        network: str, device: str = "", size: str = "1280x720", threads: int = 0
    ) -> dict[str, Any]:
        """Latency of one network (a name, an id or a text like x4c32_12wb50b50b50) on a device:
        total, 90 % interval, per layer, coverage, basis; its parameters, and MACs at that size."""
        with friendly():
            candidate = catalogue.check(catalogue.candidate_by_name(str(network)))
            view = target(candidate.scale, candidate.colour, device, size, threads)
            layers = describe(candidate, *lr_size(candidate.scale, view.size))
            return asdict(pricing.estimate(view, candidate)) | asdict(totals(layers))

    def upscale(image: Image.Image | None, network: str) -> Path:
        """Enlarge an image with a network, by its text or name; a fine-tuned model's name also
        stands for its weights."""
        with friendly():
            if image is None:
                raise InvalidImage("There is no image: send one.")
            choice = pick(catalogue, str(network))
            upscaler = upscalers.get(catalogue.check(choice.candidate), choice.final)
            return cached_png(result, upscaler.upscale(image), "image")

    for function in (models, front, estimate):
        api(function, api_name=function.__name__)
    source = ImageInput(
        type="pil", image_mode=None, format="png", visible=False,
        label=f"image (up to {MAX_PIXELS_UI / 1e6:.0f} million pixels)",
    )  # fmt: skip
    name = gr.Textbox(visible=False, label="network")
    result = gr.Image(visible=False, format="png", label="image")
    gr.Button(visible=False).click(
        upscale, [source, name], result, api_name="upscale", concurrency_id=CORES
    )
