"""The page: choose or edit a network, give an image, upscale or test it."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from sr_core.candidate import (
    MAX_RATIO,
    PATTERN_MIN_RATIO,
    WIDTHS,
    Candidate,
    LayerPruning,
    Scheme,
)
from sr_core.errors import CatalogueError, InvalidImage, UpFrontError
from sr_core.runtime.image import MAX_PIXELS_UI, save_image
from sr_core.runtime.upscale import Report
from sr_core.store import Catalogue
from sr_core.ui import facts, jobs, samples
from sr_core.ui.components.image_input import ImageInput
from sr_core.ui.components.layer_table import LayerTable

EDITED = "edited"
_INTRO = """# UpFront
Sparse super-resolution networks cut out of **one** trained supernet, after
[arXiv 2108.08910](https://arxiv.org/abs/2108.08910): pick one, prune it layer by layer, and see
what it does to an image. Not the authors' code."""
_MODES = [("Upscale as is", "upscale"), ("Test: shrink it first, then compare", "test")]
_EDITOR_HELP = """Pick a block per cell, and a scheme and ratio per layer. No fine-tuning is \
needed: the supernet was trained with all of them. **Block** removes positions shared by 4 output \
channels, **pattern** keeps 4 of 9 taps of a 3×3 kernel (1×1 layers get block instead) and so \
removes at least 56 %, **channel** removes whole channels inside a block (its last layer stays \
dense), **unstructured** removes single weights."""
_CACHE_CHECK_S, _CACHE_AGE_S = 300, 1800
"""How often Gradio looks for results and uploads to delete, and from what age."""
_MIN_FREE_BYTES = 500_000_000
_EMPTY = "<div class='empty'>The result appears here, next to bicubic interpolation.</div>"


def build_page(catalogue: Catalogue) -> gr.Blocks:
    """The Gradio app. A damaged catalogue gives a page that says what to mend, not a crash."""
    with gr.Blocks(
        title="UpFront: sparse super-resolution",
        analytics_enabled=False,
        delete_cache=(_CACHE_CHECK_S, _CACHE_AGE_S),
    ) as page:
        gr.Markdown(_INTRO)
        try:
            models = catalogue.models()
        except CatalogueError as error:
            gr.Markdown(f"### The models cannot be loaded\n{error}", elem_id="catalogue-error")
        else:
            Page(catalogue, models[0].candidate).build(page)
    page.queue(max_size=64, default_concurrency_limit=1)
    return page


@contextmanager
def _friendly() -> Generator[None, None, None]:
    """Expected errors become messages on the page."""
    try:
        yield
    except UpFrontError as error:
        raise gr.Error(str(error), print_exception=False) from None


class Page:
    """Components and callbacks; callbacks parse, call one function of the core, and format."""

    def __init__(self, catalogue: Catalogue, first: Candidate) -> None:
        self.catalogue = catalogue
        self.first = first
        self.upscalers = jobs.Upscalers(catalogue)
        self.stops: dict[str, threading.Event] = {}
        """Session -> set it to end that visitor's running job."""

    def build(self, page: gr.Blocks) -> None:
        """Lay out the components and connect them."""
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                self._build_inputs()
            with gr.Column(scale=3, min_width=320):
                self._build_results()
        with gr.Accordion("Edit the network, layer by layer", open=False, elem_id="editor"):
            self._build_editor()
        self._connect(page)

    def _build_inputs(self) -> None:
        self.image = ImageInput(
            label=f"Image (up to {MAX_PIXELS_UI / 1e6:.0f} million pixels)",
            elem_id="image", height=300, value=str(samples.paths()[0]),
            type="pil", image_mode=None, format="png", sources=["upload", "clipboard"],
            buttons=["fullscreen"],
        )  # fmt: skip
        gr.Examples(
            [[str(path)] for path in samples.paths()], [self.image],
            label="Samples", examples_per_page=12, api_visibility="private",
        )  # fmt: skip
        self.mode = gr.Radio(_MODES, value="test", label="What to do", elem_id="mode")
        choices = [(m.title, m.name) for m in self.catalogue.models()]
        self.preset = gr.Dropdown(
            [*choices, ("Edited below", EDITED)], value=choices[0][1], label="Network",
            elem_id="preset",
        )  # fmt: skip
        self.facts = gr.HTML(self._facts(self.first), elem_id="facts")
        with gr.Row():
            self.start = gr.Button("Upscale", variant="primary", elem_id="start", scale=3)
            self.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)

    def _build_results(self) -> None:
        self.slider = gr.ImageSlider(
            label="Bicubic | this model", format="png", interactive=False,
            max_height=640, elem_id="result", buttons=["fullscreen"], visible=False,
        )  # fmt: skip
        self.outcome = gr.HTML(_EMPTY, elem_id="outcome")
        self.download = gr.DownloadButton(
            "Download the PNG", elem_id="download", visible=False, size="md"
        )

    def _build_editor(self) -> None:
        gr.Markdown(_EDITOR_HELP)
        with gr.Row():
            widths = [
                w for w in WIDTHS if w <= self.catalogue.supernet(self.first.scale).spec.width
            ]
            self.width = gr.Radio(
                widths, value=self.first.width, label="Channels C", elem_id="width"
            )
            self.scheme = gr.Dropdown(
                ["dense", "channel", "block", "pattern", "unstructured"], value="block",
                label="Scheme for all layers", elem_id="scheme",
            )  # fmt: skip
            self.ratio = gr.Slider(
                0, MAX_RATIO * 100, 50, step=1, label="Weights removed (%)", elem_id="ratio"
            )
            self.apply = gr.Button("Apply to all layers", elem_id="apply", min_width=120)
        self.table = LayerTable(self.first, elem_id="layers")
        with gr.Accordion("As JSON (for --model on the command line)", open=False):
            self.json = gr.Textbox(
                _pretty(self.first), label="Candidate", lines=6, max_lines=12, elem_id="json",
                buttons=["copy"],
            )  # fmt: skip
            self.load = gr.Button("Load this JSON", elem_id="load")

    def _connect(self, page: gr.Blocks) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        # Editing does not queue, so that no queue keeps it waiting. What may well be refused
        # does: Gradio shows an error of an event without queue as a failed request.
        quick: dict[str, Any] = {**quiet, "queue": False}
        shown = [self.table, self.width, self.preset, self.facts, self.json]
        self.preset.input(self.on_preset, [self.preset, self.table], shown, **quick)
        self.table.input(self.on_table, self.table, shown[1:], trigger_mode="always_last", **quick)
        self.width.input(self.on_width, [self.width, self.table], shown, **quick)
        self.scheme.input(_ratio_range, [self.scheme, self.ratio], self.ratio, **quick)
        self.apply.click(self.on_apply, [self.table, self.scheme, self.ratio], shown, **quick)
        self.load.click(self.on_json, self.json, shown, **quiet)
        self.image.upload(_check, self.image, None, **quiet)
        started = self.start.click(
            self.on_start,
            [self.image, self.mode, self.table],
            [self.slider, self.outcome, self.download],
            show_progress_on=self.outcome,
            api_visibility="private",
        )
        # Cancelling takes a waiting job out of the queue; `on_stop` ends a running one.
        self.stop.click(self.on_stop, None, None, cancels=[started], **quick)
        page.unload(self.on_stop)

    @_friendly()
    def on_preset(self, name: str, table: Any) -> Any:
        """A listed network was chosen (or "Edited below", which keeps the table)."""
        return self._show(self._parse(table) if name == EDITED else self.catalogue.find(name))

    @_friendly()
    def on_table(self, table: Any) -> Any:
        """The layer table was edited; it already shows itself."""
        return self._show(self._parse(table))[1:]

    @_friendly()
    def on_width(self, width: int, table: Any) -> Any:
        """Another number of channels C, same blocks and pruning."""
        old = self._parse(table)
        return self._show(Candidate(old.scale, width, old.cells, old.tail))

    @_friendly()
    def on_apply(self, table: Any, scheme: Scheme, percent: float | None) -> Any:
        """One scheme and ratio for every layer that can take it; the tail stays as it is."""
        wish, old = LayerPruning(scheme, (percent or 0) / 100), self._parse(table)
        cells = tuple(map(wish.applied_to, old.cells))
        return self._show(Candidate(old.scale, old.width, cells, old.tail))

    @_friendly()
    def on_json(self, text: str) -> Any:
        """A candidate's JSON was pasted."""
        return self._show(self._checked(Candidate.loads(text)))

    def on_start(
        self,
        image: Image.Image | None,
        mode: jobs.Mode,
        table: Any,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for one)
    ) -> Generator[Any, None, None]:
        """Upscale or test; yields the comparison, the facts and the whole PNG."""

        def report(done: int, total: int) -> None:
            progress((done, total), unit="tiles")

        with _friendly(), tempfile.TemporaryDirectory(prefix="upfront-") as folder:
            outcome = self._run(image, mode, table, str(request.session_hash), report)
            path = _saved(outcome, Path(folder))
            views = (jobs.view(outcome.bicubic), jobs.view(outcome.result))
            # Gradio copies the file into its cache before it comes back here.
            yield (
                gr.update(value=views, visible=True),
                facts.outcome_facts(outcome, self.catalogue.listed(outcome.candidate)),
                gr.update(value=str(path), visible=True),
            )

    def _run(
        self, image: Image.Image | None, mode: jobs.Mode, table: Any, session: str, report: Report
    ) -> jobs.Outcome:
        """One job that `on_stop` can end."""
        if image is None:
            raise InvalidImage("There is no image yet: upload one or pick a sample.")
        upscaler = self.upscalers.get(self._parse(table))
        stop = self.stops[session] = threading.Event()
        try:
            return jobs.run(upscaler, image, mode, report=report, should_stop=stop.is_set)
        finally:
            self.stops.pop(session, None)

    def on_stop(self, request: gr.Request) -> None:
        """Stop was pressed or the tab was closed: end the running job."""
        stop = self.stops.get(str(request.session_hash))
        if stop:
            stop.set()

    def _parse(self, table: Any) -> Candidate:
        """The candidate in the layer table, which the browser controls."""
        return self._checked(Candidate.from_json(table))

    def _checked(self, candidate: Candidate) -> Candidate:
        """`candidate` if the shipped supernet of its scale holds it."""
        self.catalogue.supernet(candidate.scale).spec.check(candidate)
        return candidate

    def _show(self, candidate: Candidate) -> tuple[Any, ...]:
        """New values of table, width, preset, facts and JSON."""
        model = self.catalogue.listed(candidate)
        return (
            candidate.to_json(),
            candidate.width,
            model.name if model else EDITED,
            self._facts(candidate),
            _pretty(candidate),
        )

    def _facts(self, candidate: Candidate) -> str:
        bicubic = self.catalogue.bicubic(candidate.scale)
        return facts.candidate_facts(candidate, self.catalogue.listed(candidate), bicubic)


def _check(image: Image.Image | None) -> None:
    """Reading the upload is the check; a bad file is refused there."""


def _pretty(candidate: Candidate) -> str:
    cells = ",\n  ".join(json.dumps(cell.to_json()) for cell in candidate.cells)
    tail = json.dumps(candidate.tail.to_json())
    return (
        f'{{"scale": {candidate.scale}, "width": {candidate.width}, "cells": [\n  {cells}],\n'
        f' "tail": {tail}}}'
    )


def _saved(outcome: jobs.Outcome, folder: Path) -> Path:
    """The whole result as a PNG."""
    if shutil.disk_usage(folder).free < _MIN_FREE_BYTES:
        raise InvalidImage("The server's disk is nearly full: try again in half an hour.")
    path = folder / f"upfront-{outcome.model_id}.png"
    save_image(outcome.result, path)
    return path


def _ratio_range(scheme: str, percent: float | None) -> Any:
    """The ratio slider for a scheme: pattern cannot remove less than 5 of 9 taps."""
    lowest = math.ceil(PATTERN_MIN_RATIO * 100) if scheme == "pattern" else 0
    return gr.update(minimum=lowest, value=max(lowest, percent or 0))
