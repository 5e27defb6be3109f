"""Steps from each version of the quality database to the next, run by `inspector db upgrade` through Alembic."""
