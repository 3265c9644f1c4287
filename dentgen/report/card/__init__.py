"""The dataset card and the Croissant metadata of a build."""
