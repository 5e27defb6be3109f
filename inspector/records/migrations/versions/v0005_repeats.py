"""Labels say whether they are a second look without sight of the first; NULL as false, as all of before were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("labels", sa.Column("is_repeat", sa.Boolean(), nullable=True))
