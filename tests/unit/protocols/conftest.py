"""One official-layout folder for all tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from official_files import write_official


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("fiubench"))
