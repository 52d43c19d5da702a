"""Alembic's entry point. `db.migrate.migrate` runs it and passes the connection."""

from alembic import context

connection = context.config.attributes["connection"]
# The database may also contain other programs' tables with their own alembic_version.
context.configure(connection=connection, version_table="storewatch_version", transaction_per_migration=False)
context.run_migrations()
