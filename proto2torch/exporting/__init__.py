"""What `export` writes beyond the source: a check against the net it came from, other formats, the way back."""
