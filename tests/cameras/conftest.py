"""A live server, and a fake GigE Vision camera, for every test of this folder."""

from __future__ import annotations

from gige import gige  # noqa: F401 - fixture
from rpc_line import line, lines  # noqa: F401 - fixtures
