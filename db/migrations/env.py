"""Alembic's entry point. `db.migrate.migrate` runs it and passes the connection."""

from alembic import context

from db.migrate import VERSION_TABLE

connection = context.config.attributes["connection"]
# `db.migrate` has begun the transaction. SQLite runs all migrations in it; MySQL commits at each change of the schema.
context.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=False)
context.run_migrations()
