"""A trained net at work on images: its deploy net, what is done to a pixel, the classes of an image."""
