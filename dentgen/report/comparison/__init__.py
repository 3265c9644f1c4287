"""Two builds side by side: what they were made with, their counts, and pictures of the same samples."""
