"""Images of a task as file bytes, decoded when the model asks for them.

lm_eval holds every document of a task in memory, once a question: 400 questions about pictures of 1024 pixels are over
a gigabyte when decoded, and a few dozen megabytes as the files they came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmforget.lm import inside


def leave_undecoded(task: Any) -> None:
    """Changes a loaded lm_eval task so that its image columns give `{"bytes", "path"}`, which the adapter reads.

    Only where the images go from columns to the model untouched: a task that works on pictures by a function of its
    own keeps them decoded.
    """
    with _no_bars():
        inside.change_image_columns(task, undecoded)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the progress bar `datasets` shows for every column, which takes no time worth showing."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def undecoded(feature: Any) -> Any:
    """The same `datasets` feature with its images left as they are stored. Other features come back as they are."""
    import datasets

    if isinstance(feature, datasets.Image):
        return datasets.Image(mode=feature.mode, decode=False)
    if isinstance(feature, datasets.List):
        return datasets.List(undecoded(feature.feature))
    return feature
