"""What a training script carries: ways to read data, each against torch and a library.

As in runtime/, a piece names only what its file imports and pieces of this folder.
"""
