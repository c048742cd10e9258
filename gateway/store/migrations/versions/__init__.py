"""Steps of the schema. A published step is never changed; a new one is added."""
