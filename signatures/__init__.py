"""The catalogue's data. `sensor.knowledge.catalogue` reads it."""
