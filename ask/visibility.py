"""Visibility: the organisations and storehouses that a user may see."""

from dataclasses import dataclass

from ask.answers import Id, Storehouse


@dataclass(frozen=True, slots=True)
class Visibility:
    """What a user may see: the ids of whole organisations and of individual storehouses, as strings.

    If both fields are None, the user may see everything. Only `access.guard` calls the `includes_*` methods.
    """

    organisations: frozenset[str] | None = None
    storehouses: frozenset[str] | None = None

    @property
    def everything(self) -> bool:
        """Whether the user may see everything."""
        return self.organisations is None and self.storehouses is None

    def includes_organisation(self, org_id: Id) -> bool:
        """Return whether the user may see the whole organisation."""
        return self.everything or str(org_id) in (self.organisations or ())

    def includes_storehouse(self, storehouse: Storehouse) -> bool:
        """Return whether the user may see the storehouse."""
        visible_alone = str(storehouse.store_house_id) in (self.storehouses or ())
        return visible_alone or self.includes_organisation(storehouse.org_id)


EVERYTHING = Visibility()
