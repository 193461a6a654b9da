"""SSD's AnnotatedData: images with the boxes of what they show, and how both are changed together."""
