"""How well pictures obey their conditions: judges and metrics."""
