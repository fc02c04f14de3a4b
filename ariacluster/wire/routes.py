"""Every path of a node's API, once: server and client read them here."""

STATUS = "/status"
TASKS = "/tasks"
TASK = "/tasks/{id}"
TASK_VERB = "/tasks/{id}/{verb}"
NODES = "/nodes"
NODE = "/nodes/{id}"
WORKERS = "/workers"
WORKER = "/workers/{id}"
CLUSTER = "/cluster"
CLUSTER_MERGE = "/cluster/merge"
CLUSTER_RECOVER = "/cluster/recover"
LIVEZ = "/livez"
READYZ = "/readyz"

PEER_KNOCK = "/peers/knock"
PEER_MEET = "/peers/meet"
PEER_REPORTS = "/peers/reports"

DEFAULT_PORT = 8000
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

TASK_VERBS = ("pause", "resume", "retry", "cancel")

IDEMPOTENCY_KEY = "Idempotency-Key"
STALE = "X-AriaCluster-Stale"
"""On every answer that is read from the node's copy: `true` while no leader vouches for it, so that it may be old."""

PEER_KEY = "X-AriaCluster-Peer"
"""Bears `peer_token(cluster key)`: who may speak as a member."""
