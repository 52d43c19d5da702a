"""Queries of organisations."""

import sqlalchemy as sa

from ask.answers import Id, Organisation
from ask.ids import identity
from ask.rows import text
from ask.subjects import Subjects
from errors import NotFound


def organisations(connection: sa.Connection, subjects: Subjects) -> list[Organisation]:
    """Return all organisations, ordered by id."""
    organisation = subjects.organisation
    rows = connection.execute(organisation.select("org_id", "org_name").order_by(organisation.column("org_id")))
    return [Organisation(identity(org_id), text(org_name) or "") for org_id, org_name in rows if org_id is not None]


def organisation(connection: sa.Connection, subjects: Subjects, org_id: Id) -> Id:
    """Return `org_id`, converted to the type of its database column (integer or string).

    Raise `NotFound` if no organisation has this id.
    """
    subject = subjects.organisation
    wanted = subject.select("org_id").where(subject.equals("org_id", org_id)).limit(1)
    known_org_id = connection.execute(wanted).scalar()
    if known_org_id is None:
        raise no_organisation(org_id)
    return identity(known_org_id)


def no_organisation(org_id: Id) -> NotFound:
    """Return the error for an organisation that does not exist or that the user may not see."""
    return NotFound(f"there is no organisation {org_id!r}", "org_id", reason="unknown_organisation")
