"""Messages of the contract as entities of the domain, and back.

Requests come here after the contract's own rules were applied, so what is left to check is what these cannot say: that
a date is in the calendar, a district in the gazetteer, a text not blank. Everything wrong is collected, then refused at
once.
"""

from hub.transport.convert import common, consents, federation, lookup, monitoring, registry, vetting

__all__ = ["common", "consents", "federation", "lookup", "monitoring", "registry", "vetting"]
