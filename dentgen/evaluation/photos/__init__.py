"""What synthetic images are worth on a user's own labelled photographs."""
