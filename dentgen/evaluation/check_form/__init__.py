"""The form of a check sheet: one page that people fill in without a server."""
