"""The replicated log, by PySyncObj: the only folder that knows it."""
