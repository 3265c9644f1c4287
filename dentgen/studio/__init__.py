"""What people look at before a build: sheets of condition records."""
