"""One module a step from an older format to the newest: V0, V1, input fields, single fields."""
