"""The web app: a process of its own that knows a node by `ariacluster.client` and `ariacluster.wire` alone."""
