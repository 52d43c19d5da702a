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


def known_id(connection: sa.Connection, subjects: Subjects, org_id: Id) -> Id | None:
    """Return the id as its column has it; None where there is no such organisation."""
    organisation = subjects.organisation
    wanted = organisation.select("org_id").where(organisation.equals("org_id", org_id)).limit(1)
    found = connection.execute(wanted).scalar()
    return None if found is None else identity(found)
