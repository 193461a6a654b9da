"""A net measured: its blobs against stored activations, and how long each layer takes."""
