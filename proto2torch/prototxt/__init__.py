"""Messages in, messages out: schema, text, binary, upgrades, filters and splits. No torch here."""
