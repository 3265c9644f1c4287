"""What people look at after a build."""
