"""How much of the sensor database a user may see."""

from dataclasses import dataclass

from ask.answers import Id, Storehouse


@dataclass(frozen=True, slots=True)
class Visibility:
    """Whole organisations, and single storehouses besides, by their ids as text; None: no restriction.

    Only `access.guard` asks what it includes.
    """

    organisations: frozenset[str] | None = None
    storehouses: frozenset[str] | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is hidden."""
        return self.organisations is None and self.storehouses is None

    def includes_organisation(self, org_id: Id) -> bool:
        """Whether the whole of an organisation is visible."""
        return self.everything or str(org_id) in (self.organisations or ())

    def includes_storehouse(self, storehouse: Storehouse) -> bool:
        """Whether a storehouse is visible."""
        visible_alone = str(storehouse.store_house_id) in (self.storehouses or ())
        return visible_alone or self.includes_organisation(storehouse.org_id)


EVERYTHING = Visibility()
