"""What data sets come as, to databases."""
