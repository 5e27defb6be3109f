"""Shared set-up: tests import their helpers from this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from postgres import own_postgres, postgres  # noqa: F401 - fixtures for every folder
