"""Tab Compare: several networks, bicubic and the truth on one image, zoomed in step."""

from __future__ import annotations

import html
import shutil
import tempfile
import threading
from collections.abc import Sequence

import gradio as gr
from gradio.components import Component
from PIL import Image

from sr_core.errors import InvalidCandidate, InvalidImage
from sr_core.latency.estimate import CONFIDENCE
from sr_core.machine import processor
from sr_core.network.notation import to_text
from sr_core.runtime.read import MAX_PIXELS_UI
from sr_core.runtime.upscale import Report
from sr_core.ui import comparison, samples
from sr_core.ui.components.image_input import ImageInput
from sr_core.ui.components.zoom_grid import Comparison, Fact, Tile, ZoomGrid
from sr_core.ui.friendly import friendly
from sr_core.ui.pricing import Pricing, cost_of
from sr_core.ui.state import CORES, QUICK, QUIET, Change, Panel, State, Updates, Values
from sr_core.ui.titles import size_title, title
from sr_core.ui.view import MAX_PICKS, Link, Pick, View

_MODES = [("Test: shrink it first, then compare", "test"), ("Upscale as is", "upscale")]
_MIN_FREE_BYTES = 500_000_000
_HELP = f"""Up to {MAX_PICKS} networks on one image, next to bicubic interpolation. In a **test** \
the image is shrunk first, so that the truth is known and PSNR and SSIM can be measured; **upscale \
as is** enlarges what you give. All pictures are exact PNGs."""


class Compare(Panel):
    """Components of the tab, and the run behind its button."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._catalogue = pricing.catalogue
        self.upscalers = comparison.Upscalers(pricing.catalogue)
        self._stops: dict[str, threading.Event] = {}
        """Session -> set it to end that visitor's running job."""

    def build(self, link: Link) -> None:
        """Lay out the tab."""
        gr.Markdown(_HELP)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.image = ImageInput(
                    label=f"Image (up to {MAX_PIXELS_UI / 1e6:.0f} million pixels)",
                    elem_id="image", height=240, value=str(samples.paths()[0]),
                    type="pil", image_mode=None, format="png", sources=["upload", "clipboard"],
                    buttons=["fullscreen"],
                )  # fmt: skip
                gr.Examples(
                    [[str(path)] for path in samples.paths()], [self.image],
                    example_labels=[samples.label(path) for path in samples.paths()],
                    label="Samples", examples_per_page=12, api_visibility="private",
                )  # fmt: skip
            with gr.Column(scale=3, min_width=300):
                self.picks = gr.Dropdown(
                    self._choices(link), value=[one.text for one in link.picks],
                    label=f"Networks (up to {MAX_PICKS})", multiselect=True,
                    max_choices=MAX_PICKS, elem_id="picked",
                    info="Without a choice, the selected network is used.",
                )  # fmt: skip
                self.mode = gr.Radio(_MODES, value="test", label="What to do", elem_id="mode")
                with gr.Row():
                    self.start = gr.Button("Compare", variant="primary", elem_id="start", scale=3)
                    self.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
                self.outcome = gr.HTML(elem_id="outcome", min_height=40)
        self.grid = ZoomGrid(
            elem_id="grid",
            empty="The images appear here side by side: choose networks, then press Compare.",
        )

    def wire(self, state: State) -> None:
        """Connect the list of networks, the upload and the run."""
        super().wire(state)
        state.follow(self.picks.input(self.on_picks, state.inputs, state.outputs, **QUIET))
        self.image.upload(self.check, self.image, None, **QUIET)
        run = self.start.click(
            self.on_compare, state.inputs_with(self.image, self.mode),
            [self.grid, self.outcome], show_progress_on=self.outcome, concurrency_id=CORES,
            api_visibility="private",
        )  # fmt: skip
        # Cancelling takes a waiting job out of the queue; `on_stop` ends a running one.
        self.stop.click(self.on_stop, None, None, cancels=[run], **QUICK)
        state.page.unload(self.on_stop)

    def outputs(self) -> list[Component]:
        """Return the list of networks."""
        return [self.picks]

    def show(self, link: Link, values: Values, change: Change) -> Updates:
        """Show the networks to compare."""
        if change not in ("view", "picks"):
            return {}
        texts = [one.text for one in link.picks]
        return {self.picks: gr.update(choices=self._choices(link), value=texts)}

    @friendly()
    def on_picks(self, values: Values) -> Updates:
        """Follow a change of the list of networks to compare."""
        return self.state.show(self.state.read(values), values, "marks")

    @friendly()
    def on_compare(
        self,
        values: Values,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for one)
    ) -> Updates:
        """Upscale or test with all chosen networks."""

        def report(done: int, total: int) -> None:
            progress((done, total), unit="tiles")

        image, mode = values[self.image], values[self.mode]
        session = str(request.session_hash)
        return self.run(image, mode, self.state.read(values), session, report)

    def on_stop(self, request: gr.Request) -> None:
        """End the visitor's running job, by Stop or because the browser's tab was closed."""
        if stop := self._stops.get(str(request.session_hash)):
            stop.set()

    def check(self, image: Image.Image | None) -> None:
        """Do nothing: reading the upload is the check, and refuses a bad file."""

    def run(
        self,
        image: Image.Image | None,
        mode: comparison.Mode,
        link: Link,
        session: str,
        report: Report,
    ) -> Updates:
        """Run the chosen networks (or the selected one) and show them side by side."""
        if image is None:
            raise InvalidImage("There is no image yet: upload one or pick a sample.")
        if len(link.picks) > MAX_PICKS:
            raise InvalidCandidate(
                f"Got {len(link.picks)} networks to compare: at most {MAX_PICKS}."
            )
        picks = link.picks or (Pick(link.current),)
        upscalers = [self.upscalers.get(one.candidate, one.final) for one in picks]
        stop = self._stops[session] = threading.Event()
        try:
            result = comparison.compare(
                upscalers, image, mode, report=report, should_stop=stop.is_set
            )
        finally:
            self._stops.pop(session, None)
        return {
            self.grid: self._comparison(result, link.view).to_json(),
            self.outcome: _facts(result, self._pricing.profile(link.view).title),
        }

    def _choices(self, link: Link) -> list[tuple[str, str]]:
        """Return listed and fine-tuned networks, and chosen ones that are none of them."""
        family = link.view.family
        choices = [(m.title, to_text(m.candidate)) for m in self._catalogue.models(family)]
        choices += [
            (f"{final.name}, fine-tuned: {title(final.candidate)}", final.name)
            for final in self._catalogue.finals(family)
        ]
        texts = {text for _, text in choices}
        own = [(title(p.candidate), p.text) for p in (*link.picks, Pick(link.current))]
        extra = [choice for choice in dict.fromkeys(own) if choice[1] not in texts]
        return [*extra, *choices]

    def _comparison(self, result: comparison.Comparison, view: View) -> Comparison:
        """Return the tiles of one run: the truth, bicubic, then the networks."""
        _check_disk()
        tiles: list[Tile] = []
        if result.truth is not None:
            tiles.append(self._tile("truth", "Original", "the truth", result.truth, ()))
        facts = _score_facts(result.bicubic_score)
        tiles.append(self._tile("bicubic", "Bicubic", "interpolation", result.bicubic, facts))
        for index, outcome in enumerate(result.outcomes, start=1):
            model = self._catalogue.model_of(outcome.candidate)
            final = self._catalogue.final_by_name(outcome.model_id)
            weights = f"fine-tuned {final.name}" if final else "once for all"
            name = f"{model.title if model else title(outcome.candidate)}, {weights}"
            facts = (*_score_facts(outcome.score), *self._cost_facts(outcome, view))
            tiles.append(self._tile(f"m{index}", name, outcome.model_id, outcome.result, facts))
        width, height = comparison.view(result.bicubic).size
        truth = "truth" if result.truth is not None else ""
        return Comparison(tuple(tiles), width, height, truth)

    def _tile(
        self, key: str, heading: str, subtitle: str, image: Image.Image, facts: Sequence[Fact]
    ) -> Tile:
        view = comparison.view(image)
        name = f"upfront-{subtitle if key.startswith('m') else key}"
        whole = view.size == image.size and view.mode == image.mode
        src, href = self.grid.save(view, name), "" if whole else self.grid.save(image, name)
        return Tile(key, heading, subtitle, src, f"{name}.png", facts, href)

    def _cost_facts(self, outcome: comparison.Outcome, view: View) -> tuple[Fact, ...]:
        estimate = self._pricing.estimate(view, outcome.candidate)
        interval = f"{estimate.low_ms:.1f}–{estimate.high_ms:.1f}, {CONFIDENCE:.0%}"
        latency = f"{estimate.total_ms:.1f} ms ({interval})"
        return (
            Fact(f"This run, {outcome.runtime}", f"{outcome.elapsed_ms:,.0f} ms", "measured"),
            Fact(f"{size_title(view.size)} frame on the device", latency, "estimated"),
            Fact(
                "MACs, 1280×720", f"{cost_of(outcome.candidate).macs_kept / 1e9:.2f} G", "counted"
            ),
        )


def _score_facts(score: comparison.Score | None) -> tuple[Fact, ...]:
    if score is None:
        return ()
    psnr = "identical" if score.psnr_y_db == float("inf") else f"{score.psnr_y_db:.2f} dB"
    facts = [
        Fact("PSNR-Y", psnr, "measured"), Fact("SSIM-Y", f"{score.ssim_y:.4f}", "measured")
    ]  # fmt: skip
    if score.psnr_rgb_db is not None and score.psnr_rgb_db < float("inf"):
        facts.append(Fact("PSNR-RGB", f"{score.psnr_rgb_db:.2f} dB", "measured"))
    return tuple(facts)


def _facts(result: comparison.Comparison, device: str) -> str:
    """Say how this run was done, as HTML."""
    (lr_width, lr_height), outcomes = result.lr_size, result.outcomes
    width, height = result.bicubic.size
    scale = width // lr_width
    lines = [
        f"{lr_width}×{lr_height} → {width}×{height}, {len(outcomes)} network(s), each once, on the "
        f"computer that serves this page ({processor()}, {outcomes[0].runtime}, fp32, a thread per "
        "core). These times are no phone latency.",
        f"Estimates are for {device}.",
        f"PSNR-Y and SSIM-Y: luma, PSNR-RGB: all channels; 8 bits, {scale} pixels of border left "
        "out; LR made by bicubic shrinking." if result.truth is not None else "",
        result.note,
        f"The comparison shows the centre, {comparison.VIEW_SIDE} pixels a side at most; downloads "
        "are whole." if max(width, height) > comparison.VIEW_SIDE else "",
    ]  # fmt: skip
    return f"<p class='origin'>{html.escape(' '.join(line for line in lines if line))}</p>"


def _check_disk() -> None:
    if shutil.disk_usage(tempfile.gettempdir()).free < _MIN_FREE_BYTES:
        raise InvalidImage("The server's disk is nearly full: try again in half an hour.")
