"""LMDB, read by a walk over its map: a damaged page is an error here, and would end the process in its own library."""
