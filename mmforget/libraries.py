"""Settings that other libraries read when they load, for this process and those it starts."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import platform
import warnings

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""What `mallopt` of the GNU C library sets, by their numbers in malloc.h."""
LARGEST_ARRAY_BYTES, MOST_KEPT_BYTES = 2**30, 2**31 - 1


def prepare_libraries() -> None:
    """Bars and deprecation notices off stderr, threads that wait idle, memory that is used again.

    Call it before the libraries are imported.

    OpenMP threads spin while they wait. With another busy process on the same cores a step then takes fifteen times as
    long as with threads that sleep (measured on two cores, two processes: 4.1 s against 0.24 s).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    keep_freed_memory()
    for category in (FutureWarning, DeprecationWarning, UserWarning):
        warnings.filterwarnings(
            "ignore", category=category, module=r"(transformers|torch|peft|accelerate|datasets)\b.*"
        )


def keep_freed_memory() -> bool:
    """Has this process use freed memory again, in place of giving it back to the system; False where it cannot.

    Every step allocates and frees the same large arrays. Given back each time, their pages are handed out and cleared
    anew, which is a tenth of a training step on the CPU. The process keeps up to 2 GiB instead, and larger arrays than
    1 GiB go back as before.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    taken = [library.mallopt(M_MMAP_THRESHOLD, LARGEST_ARRAY_BYTES), library.mallopt(M_TRIM_THRESHOLD, MOST_KEPT_BYTES)]
    return all(taken)


def leave_libraries_to_stay() -> None:
    """Has Python's search for garbage pass over all that lives now, once a process. Call it before models are loaded.

    The libraries bring a million objects that stay to the end. accelerate searches them all whenever a training ends,
    which took .5 s each time.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
