"""Draw the chart samples in assets/samples: `python assets/draw_samples.py`.

Charts show what photographs hide: aliasing (zone plate), text sizes, line pairs, edges at every
angle. Drawn at 8 times the size and shrunk, so that the originals are properly sampled.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 512
OVERSAMPLING = 8
FOLDER = Path(__file__).parent / "samples"
INK, PAPER = (24, 28, 38), (250, 249, 245)
HUES = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0))


def zone_plate() -> Image.Image:
    """Rings whose frequency grows to 0.35 cycles per pixel at the edge, tinted by angle."""
    side = SIDE * 4
    y, x = (np.mgrid[:side, :side] - side / 2 + 0.5) / 4
    radius = np.hypot(x, y)
    wave = 0.5 + 0.5 * np.cos(math.pi * 0.35 / (SIDE / 2) * radius**2)
    turn = (np.arctan2(y, x) / (2 * math.pi)) % 1
    hues = np.array([*HUES, HUES[0]], dtype=float)
    tint = np.stack([np.interp(turn, np.linspace(0, 1, 6), hues[:, c]) for c in range(3)], axis=-1)
    pixels = np.array(PAPER) * wave[..., None] + tint * (1 - wave[..., None])
    image = Image.fromarray(pixels.round().astype(np.uint8))
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def test_chart() -> Image.Image:
    """Text from 9 to 40 pixels, line pairs from 1 to 6 pixels, a star and coloured discs."""
    k = OVERSAMPLING
    image = Image.new("RGB", (SIDE * k, SIDE * k), PAPER)
    draw = ImageDraw.Draw(image)
    top = 14
    for size in (40, 28, 20, 15, 12, 9):
        font = ImageFont.load_default(size * k)
        draw.text((16 * k, top * k), f"{size} px  Sphinx of black quartz", INK, font)
        top += round(size * 1.35)
    left = 16
    for pitch in (1, 2, 3, 4, 6):
        for line in range(5):
            x, y = left + 2 * pitch * line, 200 + 2 * pitch * line
            draw.rectangle((x * k, 200 * k, (x + pitch) * k - 1, 260 * k), INK)
            draw.rectangle((left * k, (y + 75) * k, (left + 58) * k, (y + 75 + pitch) * k - 1), INK)
        left += 10 * pitch + 26
    _star(draw, (392 * k, 392 * k), 104 * k)
    for index, hue in enumerate(HUES):
        x, y, r = (40 + 46 * index) * k, 400 * k, 26 * k
        draw.ellipse((x - r, y - r, x + r, y + r), hue)
        draw.line((x - r, y + 2 * r, x + r, y + (2.4 + 0.4 * index) * r), hue, width=2 * k)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _star(draw: ImageDraw.ImageDraw, centre: tuple[int, int], radius: int, rays: int = 36) -> None:
    x, y = centre
    for ray in range(rays):
        angles = (2 * math.pi * (ray + half) / rays for half in (0, 0.5))
        tips = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
        draw.polygon([(x, y), *tips], fill=INK)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw_one in {"zone_plate": zone_plate, "test_chart": test_chart}.items():
        draw_one().save(FOLDER / f"{name}.png", optimize=True)
