"""Imported last by the process that tests are forked from: what it holds stays, and is not searched for garbage."""

from __future__ import annotations

from mmforget.libraries import leave_libraries_to_stay

leave_libraries_to_stay()
