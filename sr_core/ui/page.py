"""The page: choose or edit a network, give an image, upscale or test it."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from PIL import Image

from sr_core.candidate import (
    MAX_RATIO,
    WIDTHS,
    Candidate,
    LayerPruning,
    Scheme,
)
from sr_core.errors import CatalogueError, UpFrontError
from sr_core.runtime.image import MAX_PIXELS_UI, save_image
from sr_core.store import Catalogue
from sr_core.ui import facts, jobs, samples
from sr_core.ui.components.image_input import ImageInput
from sr_core.ui.components.layer_table import LayerTable

T = TypeVar("T")
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
_EMPTY = "<div class='empty'>The result appears here, next to bicubic interpolation.</div>"


def build_page(catalogue: Catalogue) -> gr.Blocks:
    """The Gradio app. A damaged catalogue gives a page that says what to mend, not a crash."""
    with gr.Blocks(
        title="UpFront: sparse super-resolution",
        analytics_enabled=False,
        delete_cache=(3600, 24 * 3600),
    ) as page:
        gr.Markdown(_INTRO)
        try:
            models = catalogue.models()
        except CatalogueError as error:
            gr.Markdown(f"### The models cannot be loaded\n{error}", elem_id="catalogue-error")
        else:
            Page(catalogue, models[0].candidate).build(page)
    page.queue(max_size=16, default_concurrency_limit=1)
    return page


class Page:
    """Components and callbacks; callbacks parse, call one function of the core, and format."""

    def __init__(self, catalogue: Catalogue, first: Candidate) -> None:
        self.catalogue = catalogue
        self.first = first
        self.upscalers = jobs.Upscalers(catalogue)
        self.stops: dict[str, threading.Event] = {}
        self.results = Path(tempfile.mkdtemp(prefix="upfront-"))
        atexit.register(shutil.rmtree, self.results, ignore_errors=True)

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
        with gr.Row(equal_height=True):
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
        shown = [self.table, self.width, self.preset, self.facts, self.json]
        self.preset.input(self.on_preset, [self.preset, self.table], shown, **quiet)
        self.table.input(self.on_table, self.table, shown[1:], trigger_mode="always_last", **quiet)
        self.width.input(self.on_width, [self.width, self.table], shown, **quiet)
        self.apply.click(self.on_apply, [self.table, self.scheme, self.ratio], shown, **quiet)
        self.load.click(self.on_json, self.json, shown, **quiet)
        self.image.upload(_check, self.image, None, api_visibility="private")
        self.start.click(
            self.on_start,
            [self.image, self.mode, self.table],
            [self.slider, self.outcome, self.download],
            show_progress_on=self.outcome,
            api_visibility="private",
        )
        self.stop.click(self.on_stop, None, None, queue=False, **quiet)
        page.unload(self.on_close)

    def on_preset(self, name: str, table: Any) -> Any:
        """A listed network was chosen (or "Edited below", which keeps the table)."""
        if name == EDITED:
            return self._show(_parse(table))
        return self._show(_guarded(lambda: self.catalogue.find(name)))

    def on_table(self, table: Any) -> Any:
        """The layer table was edited; it already shows itself."""
        return self._show(_parse(table))[1:]

    def on_width(self, width: int, table: Any) -> Any:
        """Another number of channels C, same blocks and pruning."""
        old = _parse(table)
        return self._show(_guarded(lambda: Candidate(old.scale, width, old.cells, old.tail)))

    def on_apply(self, table: Any, scheme: Scheme, percent: float) -> Any:
        """One scheme and ratio for every layer that can take it; the tail stays as it is."""

        def pruned() -> Candidate:
            wish, old = LayerPruning(scheme, percent / 100), _parse(table)
            return Candidate(old.scale, old.width, tuple(map(wish.applied_to, old.cells)), old.tail)

        return self._show(_guarded(pruned))

    def on_json(self, text: str) -> Any:
        """A candidate's JSON was pasted."""

        def loaded() -> Candidate:
            candidate = Candidate.loads(text)
            self.catalogue.supernet(candidate.scale).spec.check(candidate)
            return candidate

        return self._show(_guarded(loaded))

    def on_start(
        self,
        image: Image.Image | None,
        mode: jobs.Mode,
        table: Any,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for one)
    ) -> Any:
        """Upscale or test; returns the comparison, the facts and the whole PNG."""
        if image is None:
            raise gr.Error(
                "There is no image yet: upload one or pick a sample.", print_exception=False
            )
        candidate, stop, session = _parse(table), threading.Event(), _session(request)
        self.stops[session] = stop

        def report(done: int, total: int) -> None:
            progress((done, total), unit="tiles")

        def work() -> jobs.Outcome:
            return jobs.run(
                self.upscalers.get(candidate), image, mode,
                report=report, should_stop=stop.is_set,
            )  # fmt: skip

        outcome = _guarded(work)
        path = _guarded(lambda: self._saved(outcome, session))
        views = (jobs.view(outcome.bicubic), jobs.view(outcome.result))
        return (
            gr.update(value=views, visible=True),
            facts.outcome_facts(outcome),
            gr.update(value=str(path), visible=True),
        )

    def on_stop(self, request: gr.Request) -> None:
        """Stop was pressed: end the running job."""
        stop = self.stops.pop(_session(request), None)
        if stop:
            stop.set()

    def on_close(self, request: gr.Request) -> None:
        """The tab was closed: end its job and forget its result."""
        self.on_stop(request)
        shutil.rmtree(self._folder(_session(request)), ignore_errors=True)

    def _folder(self, session: str) -> Path:
        return self.results / session

    def _saved(self, outcome: jobs.Outcome, session: str) -> Path:
        """The whole result as a PNG that the page may serve; replaces the session's last one."""
        shutil.rmtree(self._folder(session), ignore_errors=True)
        path = self._folder(session) / f"upfront-{outcome.model_id}.png"
        save_image(outcome.result, path)
        return path

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


def _guarded(work: Callable[[], T]) -> T:
    """Run `work`; an expected error becomes a message on the page."""
    try:
        return work()
    except UpFrontError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _parse(table: Any) -> Candidate:
    """The candidate in the layer table, which the browser controls."""
    return _guarded(lambda: Candidate.from_json(table))


def _check(image: Image.Image | None) -> None:
    """Reading the upload is the check; a bad file is refused there."""


def _pretty(candidate: Candidate) -> str:
    cells = ",\n  ".join(json.dumps(cell.to_json()) for cell in candidate.cells)
    tail = json.dumps(candidate.tail.to_json())
    return (
        f'{{"scale": {candidate.scale}, "width": {candidate.width}, "cells": [\n  {cells}],\n'
        f' "tail": {tail}}}'
    )


def _session(request: gr.Request) -> str:
    """A name for the visitor's tab that is safe as a folder; the browser chose the original."""
    return hashlib.sha256(str(request.session_hash).encode()).hexdigest()[:16]
