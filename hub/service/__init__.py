"""Use cases: one for each RPC, in terms of the domain and of a few ports."""
