"""LevelDB, read and written here: plyvel, the library, has no wheels for Python 3.13 and later."""
