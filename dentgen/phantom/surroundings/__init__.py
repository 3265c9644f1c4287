"""The world before and around the mouth: framings, lips and faces, instruments, rubber dam."""
