"""What the web app costs: memory, processor, bytes, and how soon it shows something. `scripts/bench webapp`."""
