"""The intermediate representation: a net as frozen nodes and values, and the passes over it. No torch here."""
