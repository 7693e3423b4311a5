"""Colours that a network sees: RGB, or luma alone (`network.bt601`). Pure Python, no torch."""

from __future__ import annotations

from typing import Literal

Colour = Literal["rgb", "luma"]
CHANNELS: dict[Colour, int] = {"rgb": 3, "luma": 1}
"""Channels of a network's input, and phases per output pixel."""
RGB = CHANNELS["rgb"]
