"""Every path of a node's API, once: server and client read them here."""

STATUS = "/status"
TASKS = "/tasks"
TASKS_BATCH = "/tasks/batch"
TASKS_BULK = "/tasks/bulk"
TASKS_IMPORT = "/tasks/import"
TASK = "/tasks/{id}"
TASK_LIVE = "/tasks/{id}/live"
TASK_VERB = "/tasks/{id}/{verb}"
TASK_MOVE = "/tasks/{id}/move"
TASK_RELINK = "/tasks/{id}/relink"
NODES = "/nodes"
NODE = "/nodes/{id}"
NODE_DRAIN = "/nodes/{id}/drain"
NODE_UNDRAIN = "/nodes/{id}/undrain"
WORKERS = "/workers"
WORKER = "/workers/{id}"
CLUSTER = "/cluster"
CLUSTER_JOIN = "/cluster/join"
CLUSTER_MERGE = "/cluster/merge"
CLUSTER_RECOVER = "/cluster/recover"
CLUSTER_TRANSFER = "/cluster/transfer"
SETTINGS = "/settings"
HISTORY = "/history"
EVENTS = "/events"
METRICS = "/metrics"
OPENAPI = "/openapi.json"
DOCS = "/docs"
LIVEZ = "/livez"
READYZ = "/readyz"

PEER_KNOCK = "/peers/knock"
PEER_MEET = "/peers/meet"
PEER_REPORTS = "/peers/reports"
PEER_PARTIAL = "/peers/partials/{id}"
PEER_PARTIAL_DATA = "/peers/partials/{id}/data"
PEER_DOCUMENT = "/peers/documents/{digest}"
ENGINE_DOCUMENT = "/engine/{word}/{name}"

DEFAULT_PORT = 8000
DEFAULT_UI_PORT = 8080
DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

MAX_BATCH = 10_000
"""Tasks in one request to `TASKS_BATCH` or `TASKS_IMPORT`."""

MAX_WATCHED = 1_000
"""Tasks whose rows one subscription to `EVENTS` follows."""

SORTS = ("created", "name", "size", "progress", "speed", "priority", "status", "updated")
"""By what `TASKS` may be sorted; with a leading `-` the other way round. `created` is the order of submission."""

TASK_VERBS = ("pause", "resume", "retry", "cancel")
"""Those that need no more than to be said."""

TASK_BULK_VERBS = (*TASK_VERBS, "remove")

IDEMPOTENCY_KEY = "Idempotency-Key"
STALE = "X-AriaCluster-Stale"
"""On every answer that is read from the node's copy: `true` while no leader vouches for it, so that it may be old."""

CLIENT = "X-AriaCluster-Client"
"""What asks, such as `web` or `cli@laptop`: the history tells it with the address that it came from."""

PEER_KEY = "X-AriaCluster-Peer"
"""Bears `peer_token(cluster key)`: who may speak as a member."""

PROBLEM_CODE = "X-AriaCluster-Code"
"""The code of a refused stream: who asks for a WebSocket does not see the body of the answer."""

BLOCK_DIGEST = "X-AriaCluster-Digest"
"""Of the bytes in the answer, as `block_digest` makes it: the LAN's own checksums let one error in 65,536 through."""
