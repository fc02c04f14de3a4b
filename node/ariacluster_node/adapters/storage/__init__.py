"""Folders and files of this node."""
