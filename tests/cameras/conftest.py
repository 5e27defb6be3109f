"""A live server for every test of this folder."""

from __future__ import annotations

from rpc_line import line, lines  # noqa: F401 - fixtures
