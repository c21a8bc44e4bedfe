"""How many redemptions of a provider wait is counted by an index, where so many wait that it matters."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.execute("CREATE INDEX parked_provider ON parked (provider, programme)")


def downgrade() -> None:
    """Nothing that was written is taken back: restore a backup instead."""
    raise NotImplementedError
