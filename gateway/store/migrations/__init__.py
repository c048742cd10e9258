"""Alembic's folder: `env.py` and one Python file with one SQL file per step in `versions/`."""
