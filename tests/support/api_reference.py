"""`docs/api.md`, written from the table of operations."""

from ariacluster.wire.events import MAX_TOP, PERIOD, TOPICS
from ariacluster.wire.routes import MAX_BATCH, MAX_LIMIT, MAX_WATCHED, SORTS
from ariacluster_node.api.events import HEARTBEAT, STALLED
from ariacluster_node.api.openapi import document
from ariacluster_node.services.listing import WALK_S

HEAD = f"""\
# The API

<!-- Written by scripts/docs from OPERATIONS in node/ariacluster_node/api/operations.py. Change that, then run it. -->

JSON over HTTP, the same on every node. Each node describes it in full at `/openapi.json` (OpenAPI 3.1), and shows
that at `/docs`.

## What holds everywhere

- **Writes.** A 2xx means that a majority has it on disk. 503 means that nothing was changed, and says why
  (`no_leader`, `no_quorum`, `not_ready`, `overloaded`); 504 that nobody can tell: look before you repeat, or send an
  `Idempotency-Key`.
- **Reads** have what was answered to anybody before, on whichever node. Where nobody can vouch for that within half a
  second the answer is marked with `X-AriaCluster-Stale: true`. `fresh=true` is rather refused than stale,
  `fresh=false` waits for nothing. A write goes by the same: a task may be submitted at one node and paused at
  another at once.
- **Errors** are problem documents (RFC 9457): `code` for programs, `detail` for people, `field` where one is at
  fault.
- **Spelling counts**: fields and parameters that there are not are refused.
- **Lists** have `limit` (at most {MAX_LIMIT:,}), `Link: rel="next"` and `X-Total-Count`. A walk through the pages
  shows nothing twice and skips nothing that was there throughout. Sorted by something else than `created` a cursor is
  good for {WALK_S / 60:.0f} minutes, and at the node that gave it.
- **Who asks**: `X-AriaCluster-Client: NAME` is told in the history, with the address.
- **What is refused**: a `Host` that is no name of the node (`--allow-host` adds one; addresses, names without a dot,
  `*.local`, `*.lan` and the members' names are known), an `Origin` that is not the node itself, bodies that are no
  JSON, packed, or too large.

## The list of tasks

`sort` is one of {", ".join(f"`{sort}`" for sort in SORTS)}, with a `-` in front backwards. `q` looks in names and
links, whatever the case. `tag` is `KEY=VALUE` or `KEY`. All that is named must hold; several values of one are parted
by commas, and one of them must hold (of tags, all).

## Events

`GET /events` is a stream of server-sent events, or a WebSocket if one is asked for: {
    ", ".join(f"`{topic}`" for topic in TOPICS)
}; `topics` chooses.

| frame | when |
|---|---|
| `hello` | first: the node, the newest number there is, and with `resumed` whether all after `since` follows |
| `summary` | at most every {PERIOD:.0f} s, if it is new: the status, and with `top=N` (to {
    MAX_TOP
}) the fastest downloads |
| `nodes` | at most every {PERIOD:.0f} s: fields of nodes that are new, with the `id`; with `whole` everything |
| `tasks` | rows that are watched (`watch=ID,ID`, at most {MAX_WATCHED:,}): once whole, then what is new |
| `history` | at once, numbered: `id` of the server-sent event, `seq` of its entry |
| `bye` | last: why the node ends it |

Numbers are the same on every node: who loses the connection goes on anywhere with `Last-Event-ID` or `since`, without
a gap. Over a WebSocket `{{"watch": [IDS], "top": N}}` changes at any time what is watched. After {HEARTBEAT:.0f} s of
silence the node sends a comment, or pings. Who leaves the network full for {STALLED:.0f} s, or a megabyte unread, is
sent away (`slow_reader`). A subscription costs a node next to nothing: a frame is made once for all who want the
same. In Python, `ariacluster.client.stream.EventStream` does all of that by itself.

```sh
curl -N 'localhost:8000/events?topics=history'
```

## Many at once

`POST /tasks/batch` takes up to {MAX_BATCH:,} tasks, each for itself: `results` has an `id` or a `problem` for each,
in the order of the request. `POST /tasks/import` does the same with a list of links or aria2's input file. `POST
/tasks/bulk` says one word to all that fit a filter.

## Every request

"""


def api() -> str:
    rows = ["| request | what it does | answers |", "|---|---|---|"]
    for path, methods in document()["paths"].items():
        for method, about in methods.items():
            words = about["summary"].replace("|", "\\|")
            rows.append(f"| `{method.upper()} {path}` | {words} | {', '.join(about['responses'])} |")
    return HEAD + "\n".join(rows) + "\n"
