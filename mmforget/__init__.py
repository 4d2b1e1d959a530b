"""mmforget: make multimodal and text models forget, and measure whether they did."""

from __future__ import annotations

__version__ = "0.1.0"
