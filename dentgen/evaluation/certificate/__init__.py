"""A dataset's certificate: what it is worth, in figures that anyone can compute again."""
