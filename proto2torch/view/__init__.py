"""Looking inside a net: its filters, what they answer to an image, and where its features lie."""
