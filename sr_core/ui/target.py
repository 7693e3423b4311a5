"""The bar above the tabs: family of networks, device, frame, threads, and what the profile is."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
from gradio.components import Component

from sr_core.errors import MeasurementError
from sr_core.latency.measure import measure_all
from sr_core.latency.own import own_device_path
from sr_core.latency.profile import DeviceProfile
from sr_core.runtime.choice import runtime_name
from sr_core.runtime.upscale import Report
from sr_core.ui import cards
from sr_core.ui.friendly import friendly
from sr_core.ui.pricing import Pricing
from sr_core.ui.state import CORES, QUICK, Change, Panel, State, Updates, Values
from sr_core.ui.titles import size_title
from sr_core.ui.view import SIZES, Link, View, size_text

_USUAL_SHARE = 0.5
"""Waits in the hidden slider for a device that needs an assumption."""
_MEASURE_S = 45
"""For both runtimes, so that with the browser on the same cores it takes about a minute."""
_MEASURE_AGAIN_S = 600
"""A measurement is for all visitors and takes a minute, so that nobody should repeat it at will."""
_MEASURE_HELP = (
    "Times small networks on the computer that serves this page, in each runtime that works there "
    "(our engine, ONNX Runtime), and fits a latency model of each: about a minute, for everybody "
    "who uses this server. A busy computer measures itself slow: on two cores even this page's "
    "browser counts, and `python -m sr_core measure` does better."
)
_LUMA = "luma: sees and upscales brightness alone; colour by bicubic interpolation"


class Target(Panel):
    """Controls of what the latencies are for."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._catalogue = pricing.catalogue

    def build(self, link: Link) -> None:
        """Lay out the bar."""
        view = link.view
        profile = self._catalogue.device(view.device)
        with gr.Row(elem_id="target"):
            families = self._catalogue.families
            has_luma = any(family.colour == "luma" for family in families)
            self.family = gr.Radio(
                [(family.title, family.name) for family in families], value=view.family.name,
                label="Scale", elem_id="scale", min_width=190, scale=1,
                info=_LUMA if has_luma else None,
            )  # fmt: skip
            self.device = gr.Dropdown(
                self._devices(), value=view.device, label="Device", elem_id="device",
                min_width=230, scale=4,
            )  # fmt: skip
            self.size = gr.Dropdown(
                [(size_title(size), size_text(size)) for size in SIZES],
                value=size_text(view.size), label="Output", elem_id="size", min_width=120, scale=2,
            )  # fmt: skip
            self.threads = gr.Radio(
                profile.threads, value=view.threads, label="Threads", elem_id="threads",
                visible=bool(profile.threads), min_width=90, scale=1,
            )  # fmt: skip
            self.share = gr.Slider(
                0, 1, value=_share(view, profile), step=0.05, elem_id="share", min_width=220,
                scale=3, visible=_sparsity_matters(profile),
                label="Assumed: share of skipped MACs that saves time",
                info="0: as slow as dense; 1: arithmetic follows the kept MACs. Nobody published "
                "it.",
            )  # fmt: skip
        with gr.Accordion("About this device's numbers", open=False, elem_id="about-device"):
            self.about = gr.HTML(self._about(view), elem_id="device-facts")
            with gr.Row():
                self.measure = gr.Button(
                    "Measure this computer", elem_id="measure", size="md", min_width=230, scale=0
                )
                with gr.Column(min_width=260):
                    gr.Markdown(_MEASURE_HELP, elem_classes="origin")

    def wire(self, state: State) -> None:
        """Connect the slider and the measurement."""
        super().wire(state)
        # `input`, not `release`: keys are never released.
        moved = self.share.input(
            self.on_share, state.inputs, [part for part in state.outputs if part != self.share],
            trigger_mode="always_last", **QUICK,
        )  # fmt: skip
        measured = self.measure.click(
            self.on_measure, None, [self.device, self.threads, self.about], concurrency_id=CORES,
            show_progress_on=self.about, api_visibility="private",
        ).success(state.on_view, state.inputs, state.outputs, **QUICK)  # fmt: skip
        state.follow(moved)
        state.follow(measured)

    def view_events(self) -> list[Any]:
        """Return the events of all controls but the slider."""
        return [self.family.input, self.device.input, self.size.input, self.threads.input]

    def outputs(self) -> list[Component]:
        """Return all controls, and the facts."""
        return [self.family, self.device, self.size, self.threads, self.share, self.about]

    def show(self, link: Link, values: Values, change: Change) -> Updates:
        """Show all controls, for another view."""
        if change != "view":
            return {}
        view = link.view
        profile = self._catalogue.device(view.device)
        return {
            self.family: view.family.name,
            self.device: gr.update(choices=self._devices(), value=view.device),
            self.size: size_text(view.size),
            self.threads: gr.update(
                choices=profile.threads, value=view.threads, visible=bool(profile.threads)
            ),
            self.share: gr.update(value=_share(view, profile), visible=_sparsity_matters(profile)),
            self.about: self._about(view),
        }

    @friendly()
    def on_share(self, values: Values) -> Updates:
        """Take another assumption. Its slider is left alone, for it may have moved on."""
        updates = self.state.show(self.state.read(values), values, "view")
        return {part: update for part, update in updates.items() if part != self.share}

    @friendly()
    def on_measure(self, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        """Measure this computer and choose it.

        `State.on_view` follows with what was edited meanwhile.
        """

        def report(done: int, total: int) -> None:
            progress((done, total), desc="timing networks", unit="networks")

        identity = self.measure_here(report)
        self._pricing.forget()
        return self.show_device(identity)

    def show_device(self, identity: str) -> Updates:
        """Show another device, which may be new, with its default threads."""
        profile = self._catalogue.device(identity)
        threads = profile.setting(None).threads
        return {
            self.device: gr.update(choices=self._devices(), value=identity),
            self.threads: gr.update(
                choices=profile.threads, value=threads, visible=bool(profile.threads)
            ),
            self.about: self._facts(profile, threads),
        }

    def measure_here(self, report: Report) -> str:
        """Measure this computer in each runtime. Returns the id of its first profile.

        Raises `MeasurementError` if that was done a moment ago.
        """
        library = self._catalogue.engine
        path = own_device_path("sparse" if library else "onnx")
        age_s = time.time() - path.stat().st_mtime if path.is_file() else _MEASURE_AGAIN_S
        if age_s < _MEASURE_AGAIN_S:
            raise MeasurementError(
                f"This computer was measured {age_s / 60:.0f} minutes ago: wait "
                f"{_MEASURE_AGAIN_S / 60:.0f}, or run `python -m sr_core measure` and reload."
            )
        libraries = [library, None] if library else [None]
        profiles = measure_all(libraries, seconds=_MEASURE_S, report=report)
        for profile in profiles:
            self._catalogue.keep_device(profile)
        return profiles[0].id

    def _about(self, view: View) -> str:
        return self._facts(self._catalogue.device(view.device), view.threads)

    def _facts(self, profile: DeviceProfile, threads: int | None) -> str:
        catalogue = self._catalogue
        runtime = f"Images on this page are computed by {runtime_name(catalogue.engine)}."
        remarks = (catalogue.engine_problem, runtime, catalogue.device_problem)
        return cards.device_facts(profile, threads, remarks)

    def _devices(self) -> list[tuple[str, str]]:
        return [(f"{p.title} ({p.basis})", p.id) for p in self._catalogue.devices]


def _sparsity_matters(profile: DeviceProfile) -> bool:
    """Return whether an assumed share matters: not where arithmetic costs no time."""
    costs = profile.setting(None).costs.values()
    return profile.sparsity is not None and any(cost.ms_per_gmac for cost in costs)


def _share(view: View, profile: DeviceProfile) -> float:
    """Return the slider's value, also while it is hidden: the view's share or the device's own."""
    if view.share is not None:
        return view.share
    return profile.sparsity.share if profile.sparsity else _USUAL_SHARE
