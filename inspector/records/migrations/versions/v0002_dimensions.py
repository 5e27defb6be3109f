"""Length and place of findings, in pixels and in mm; NULL where the model does not outline or the recipe gives no scale."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMNS = ("length_px", "centre_x_px", "centre_y_px", "length_mm", "area_mm2", "x_mm", "y_mm")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("findings", sa.Column(name, sa.Double(), nullable=True))
