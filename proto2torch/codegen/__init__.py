"""IR to source, source to module: names, the writer, build, export."""
