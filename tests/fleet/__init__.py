"""A whole cluster in one process, without Raft and without IO: what the kernel decides, in any weather. See README.md."""
