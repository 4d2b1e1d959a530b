"""What `import mmforget` offers stays that, in a process that imports everything else, too."""

from __future__ import annotations

import subprocess
import sys


def test_public_names_stay_what_they_are_whatever_is_imported() -> None:
    code = (
        "import importlib, pkgutil, mmforget\n"
        "for one in pkgutil.walk_packages(mmforget.__path__, 'mmforget.'):\n"
        "    if not one.name.endswith('__main__'): importlib.import_module(one.name)\n"
        "for name in mmforget.__all__: assert callable(getattr(mmforget, name)), name\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
