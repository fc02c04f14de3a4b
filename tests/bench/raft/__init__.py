"""The consensus adapter beside pysyncobj as published: real processes on loopback, both in one run.

One process drives (`__main__`, `cluster`, and a room for each subject), one process is a node (`ours`, `stock`). The process of
a stock node never imports the adapter, which replaces parts of the library.
"""
