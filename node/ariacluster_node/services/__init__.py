"""The duties of a node, one a file. They know the domain and the ports, and no outside thing."""
