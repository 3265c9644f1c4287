"""Condition records: where they come from, what they must be, how they are fitted, how phantoms make them."""
