"""What a module is written as besides its source: one file a format. Each takes a module that holds its weights."""
