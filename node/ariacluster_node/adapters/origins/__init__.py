"""The servers behind the links, asked over HTTP and never fetched from."""
