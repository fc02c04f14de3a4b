"""What a node answers over HTTP. Imports services and wire, never adapters."""
