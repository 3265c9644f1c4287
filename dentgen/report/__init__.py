"""What people look at after a build: the HTML report, the dataset card, contact sheets."""
