"""The download engine: one aria2c, found, started, watched, spoken to."""
