"""Sections of tab Findings: a heading, what follows, a table, the conditions. No Gradio.

Texts that are not ours are escaped here or by who calls.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Literal

Verdict = Literal["better", "worse", "level"]
Rows = Sequence[Sequence[str]]


def section(
    heading: str, result: str, body: str, conditions: str, *, lead: str = "", more: str = ""
) -> str:
    """Return a section as HTML.

    `lead` and `result` say what the numbers say. `body` and `more` are HTML, before and after the
    conditions.
    """
    return (
        f"<section><h3>{html.escape(heading)}</h3>"
        f"<p class='result'><strong>{lead}</strong> {html.escape(result)}</p>"
        f"{body}<p class='origin'><em class='mark measured'>measured</em> "
        f"{html.escape(conditions)}</p>{more}</section>"
    )


def table(label: str, header: Sequence[str], rows: Rows) -> str:
    """Return a table that scrolls by itself where it is too wide. Cells are HTML already."""
    heads = "".join(f"<th scope=col>{cell}</th>" for cell in header)
    body = "".join(
        f"<tr><th scope=row>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return (
        f"<div class='wide' role='region' tabindex='0' aria-label='{html.escape(label)}'>"
        f"<table class='scores'><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def markdown_table(label: str, text: str) -> str:
    """Turn a Markdown table into HTML: `code`, **bold**."""
    header, _, *rows = [_cells(line) for line in text.splitlines()]
    return table(label, header, rows)


def _cells(line: str) -> list[str]:
    """Return the cells of a line of Markdown, as HTML."""
    text = html.escape(line.strip("| "))
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*(.*?)\*\*", r"<b>\1</b>", text).split(" | ")


def commands(summary: str, lines: Sequence[str]) -> str:
    """Return commands, folded away."""
    text = html.escape("\n".join(dict.fromkeys(lines)))
    return f"<details><summary>{html.escape(summary)}</summary><pre>{text}</pre></details>"


def verdict(ours: Sequence[float], theirs: Sequence[float]) -> Verdict:
    """Return whether all of `ours` are above all of `theirs`, below them, or neither."""
    if min(ours) > max(theirs):
        return "better"
    return "worse" if max(ours) < min(theirs) else "level"


def span(values: Sequence[float], decimals: int, sign: str = "") -> str:
    """Return text such as `0.12 to 0.45`, or one number where both are the same."""
    low, high = (f"{value:{sign}.{decimals}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)
