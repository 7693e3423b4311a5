"""Every error UpFront raises on purpose.

    UpFrontError
      InvalidCandidate   a candidate (blocks, schemes, ratios) outside the search vocabulary
      InvalidImage       a file or array that cannot be upscaled
      CatalogueError     precomputed/ is missing, damaged or inconsistent
      DatasetError       a folder of images that cannot be used for training or evaluation
      TrainingError      a training run that cannot start, continue or save
      MeasurementError   a benchmark that cannot be run as asked
      LatencyError       a device, output size or thread count that has no latency estimate
      EngineError        the sparse engine cannot be built, loaded or fed as asked
      SearchError        a search that cannot start, or a stored front that cannot be used
      RuntimeUnavailable an optional package or runtime is not installed
      Cancelled          the caller asked a running job to stop

A message is one sentence or two: what was got, what was expected, how to mend it.
"""

from __future__ import annotations


class UpFrontError(Exception):
    """Base of all expected errors. The text is meant for the person at the screen."""


class InvalidCandidate(UpFrontError):
    """A candidate that is not in the search vocabulary of `sr_core.network.candidate`."""


class InvalidImage(UpFrontError):
    """An input image that cannot be read, or is outside the stated limits."""


class CatalogueError(UpFrontError):
    """Something in precomputed/ is missing, damaged or does not fit the rest."""


class DatasetError(UpFrontError):
    """A folder of images that cannot serve for training or evaluation."""


class TrainingError(UpFrontError):
    """A training run that cannot start, continue or save."""


class MeasurementError(UpFrontError):
    """A benchmark that cannot be run as asked."""


class LatencyError(UpFrontError):
    """A device, output size or thread count for which there is no latency estimate."""


class EngineError(UpFrontError):
    """The sparse engine cannot be built or loaded, or was given what it cannot run."""


class SearchError(UpFrontError):
    """A search that cannot start or continue, or a stored front that cannot be used."""


class RuntimeUnavailable(UpFrontError):
    """An optional package (torch for training, say) is not installed."""


class Cancelled(UpFrontError):
    """A running job that the caller asked to stop. Nothing was written."""
