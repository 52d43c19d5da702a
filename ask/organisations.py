"""Who owns storehouses."""

import sqlalchemy as sa

from ask.answers import Id, Organisation
from ask.rows import bounded, text
from ask.subjects import Subjects, identity

MOST = 10_000


def organisations(connection: sa.Connection, subjects: Subjects) -> list[Organisation]:
    """Return all organisations, by id."""
    organisation = subjects.organisation
    rows = bounded(connection, organisation.select("org_id", "org_name").order_by(organisation.column("org_id")), MOST)
    return [Organisation(identity(org_id), text(org_name) or "") for org_id, org_name in rows if org_id is not None]


def organisation_exists(connection: sa.Connection, subjects: Subjects, org_id: Id) -> bool:
    """Return whether there is such an organisation."""
    organisation = subjects.organisation
    wanted = organisation.select("org_id").where(organisation.equals("org_id", org_id)).limit(1)
    return connection.execute(wanted).first() is not None
