"""What of the sensor database somebody may see."""

from dataclasses import dataclass

from ask.answers import Id, Storehouse


@dataclass(frozen=True, slots=True)
class Visibility:
    """Whole organisations, and single storehouses besides, by their ids as text; None: there is no bound."""

    organisations: frozenset[str] | None = None
    storehouses: frozenset[str] | None = None

    @property
    def everything(self) -> bool:
        """There is nothing that one may not see."""
        return self.organisations is None and self.storehouses is None

    def organisation(self, org_id: Id) -> bool:
        """Whether one may see the whole of an organisation."""
        return self.everything or str(org_id) in (self.organisations or ())

    def storehouse(self, storehouse: Storehouse) -> bool:
        """Whether one may see a storehouse."""
        return self.organisation(storehouse.org_id) or str(storehouse.store_house_id) in (self.storehouses or ())


EVERYTHING = Visibility()
