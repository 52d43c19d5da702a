"""Alembic's entry: it is called from `db.migrate.migrate`, which hands over the connection."""

from alembic import context

connection = context.config.attributes["connection"]
# A site may keep other programs' tables beside ours, with an alembic_version of their own.
context.configure(connection=connection, version_table="storewatch_version", transaction_per_migration=False)
context.run_migrations()
