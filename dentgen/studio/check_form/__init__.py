"""The form of a check sheet: one page that people fill in, with or without the studio's server."""
