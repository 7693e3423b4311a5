"""The kept taps of a pruned input skip, refitted so that its output stays as near as can be.

The skip is close to an interpolation: its taps sum to one, which taking some away would break. So
the kept ones are solved for anew, by least squares over LR patches. Nothing is trained.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sr_core.network.bt601 import OFFSET, YCBCR
from sr_core.network.colour import RGB, Colour
from sr_core.network.layers import INPUT_SKIP_KERNEL

Moments = NDArray[np.float64]
"""(n, n) means of products of an LR patch's values (channel, row, column), behind them a one."""
Array = NDArray[np.float32]
TAPS = INPUT_SKIP_KERNEL**2
_RIDGE = 1e-9
"""Share of the mean square that is added to the diagonal: flat patches repeat their values."""


def of_colour(rgb: Moments, colour: Colour) -> Moments:
    """Return the moments of what a network sees, from those of RGB patches (76, 76)."""
    if colour == "rgb":
        return rgb
    to_luma = np.zeros((TAPS + 1, RGB * TAPS + 1))
    for channel in range(RGB):
        places = np.arange(TAPS)
        to_luma[places, channel * TAPS + places] = YCBCR[0, channel]
    to_luma[:-1, -1] = OFFSET[0]
    to_luma[-1, -1] = 1
    return to_luma @ rgb @ to_luma.T


def refit(
    weight: Array, bias: Array, mask: NDArray[np.bool_], moments: Moments
) -> tuple[Array, Array]:
    """Return (weight, bias) with zeros outside of `mask` and the least squared change of output.

    What is zero outside already comes back as it is.

    Args:
        weight: (out, in, k, k), dense.
        bias: (out,).
        mask: of the weight's shape, True = kept.
        moments: (in k k + 1, in k k + 1), from `of_colour`.
    """
    taps, keep = weight.reshape(len(weight), -1).astype(np.float64), mask.reshape(len(mask), -1)
    result = np.concatenate([taps * keep, bias[:, None].astype(np.float64)], axis=1)
    ridge = _RIDGE * float(np.trace(moments)) / len(moments)
    for output, kept in enumerate(keep):
        free = np.append(kept, True)  # the bias is free too
        inner = moments[np.ix_(free, free)] + ridge * np.eye(int(free.sum()))
        lost = moments[np.ix_(free, ~free)] @ taps[output][~kept]
        result[output, free] += np.linalg.solve(inner, lost)
    fitted = result.astype(np.float32)
    return fitted[:, :-1].reshape(weight.shape), fitted[:, -1]
