"""What is measured and trained in the minutes that a GPU is at hand."""
