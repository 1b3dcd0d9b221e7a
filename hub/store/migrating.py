"""Bringing the schema up to date. Apart from the rest, since a worker never does, and Alembic is large."""

from importlib.resources import files

import alembic.command
import alembic.config
from sqlalchemy import create_engine, make_url

from hub.store.database import refusals


def migrate(dsn: str) -> None:
    """Brings the schema to the newest version; safe to call from several processes at once.

    Raises:
        Refused: DATABASE_UNAVAILABLE.
    """
    engine = create_engine(make_url(dsn).set(drivername="postgresql+psycopg"), hide_parameters=True)
    try:
        with refusals(), engine.connect() as connection:
            # One migration at a time, whoever starts it: the key is any constant of ours.
            connection.exec_driver_sql("SELECT pg_advisory_lock(7000)")
            connection.commit()
            config = alembic.config.Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(files("hub.store") / "migrations"))
            alembic.command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()
