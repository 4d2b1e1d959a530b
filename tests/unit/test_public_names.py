"""What `import mmforget` offers stays that, in a process that has imported everything else, too."""

from __future__ import annotations

import importlib
import pkgutil

import mmforget


def test_public_names_stay_what_they_are_whatever_is_imported() -> None:
    for one in pkgutil.walk_packages(mmforget.__path__, "mmforget."):
        if not one.name.endswith("__main__"):
            importlib.import_module(one.name)
    for name in mmforget.__all__:
        assert callable(getattr(mmforget, name)), name
