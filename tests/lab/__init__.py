"""A LAN in one process tree: hosts as network namespaces on switches of their own. See README.md."""
