"""`GET /metrics`: this node in Prometheus' words, and in OpenMetrics' where those are asked for."""

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ariacluster.domain.task import TaskState
from ariacluster.wire import routes as paths
from ariacluster_node.services.event_hub import EventHub
from ariacluster_node.services.measures import Buckets, Measures

from .answers import SERVICES, Services, known

routes = web.RouteTableDef()

REGISTRY: web.AppKey[CollectorRegistry] = web.AppKey("registry", CollectorRegistry)


def open_to(app: web.Application, measures: Measures, hub: EventHub) -> None:
    """Let `app` tell what is measured: what is counted all the time, and the rest as of the moment in which it is asked for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(app[SERVICES], measures, hub))
    app[REGISTRY] = registry
    app.add_routes(routes)


@routes.get(paths.METRICS)
async def metrics(request: web.Request) -> web.Response:
    known(of=request)
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[REGISTRY]), headers={"Content-Type": kind})


class NodeCollector(Collector):
    """Reads what the node knows. Cheap: nothing here walks over all tasks."""

    def __init__(self, services: Services, measures: Measures, hub: EventHub) -> None:
        self._services = services
        self._measures = measures
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        yield from self._consensus()
        yield from self._tasks()
        yield from self._nodes()
        yield from self._itself()

    def _consensus(self) -> Iterator[Metric]:
        replica = self._services.replica
        status = replica.status
        leader = status.leader if status else None
        yield _gauge("leader", "1 if this node leads the cluster.", status is not None and status.is_leader)
        yield _gauge("has_leader", "1 while this node knows of a leader.", leader is not None)
        yield _gauge(
            "has_quorum", "1 while a majority of the voters can be reached.", bool(status and status.has_quorum)
        )
        yield _gauge("ready", "1 while this node is caught up with the log.", replica.ready)
        yield _gauge("term", "The term of the consensus.", status.term if status else 0)
        yield _gauge(
            "applied_index", "The last entry of the log that is applied here.", status.applied if status else 0
        )
        yield _gauge("voters", "Voters of the cluster.", len(status.voters) if status else 0)
        yield _gauge("voters_missing", "Voters that cannot be reached.", len(status.missing) if status else 0)
        yield _gauge("members", "Members of the cluster.", len(replica.table.members))
        followers = replica.consensus.followers() if status else []
        yield _gauge("peers_connected", "On the leader: nodes that follow it now.", sum(f.connected for f in followers))
        lag = max((follower.lag for follower in followers), default=0)
        yield _gauge("peers_lag_entries", "On the leader: by how many entries the last of them is behind.", lag)
        yield _counter("elections", "How often a leader was seen to be elected.", self._measures.elections)
        yield _histogram(
            "commit_seconds", "From a proposal of this node until it was applied here.", self._measures.commits
        )

    def _tasks(self) -> Iterator[Metric]:
        table = self._services.replica.table
        tasks = GaugeMetricFamily("ariacluster_tasks", "Tasks by state.", labels=["state"])
        for state in TaskState:
            tasks.add_metric([state.value], len(table.by_state[state]))
        yield tasks
        given = GaugeMetricFamily("ariacluster_node_tasks", "Tasks that a node was given.", labels=["node", "state"])
        for member in table.members.values():
            idle = table.idle_count(member.id)
            given.add_metric([member.name, "queued"], idle)
            given.add_metric([member.name, "downloading"], table.load_of(member.id) - idle)
        yield given
        failures = CounterMetricFamily(
            "ariacluster_attempts_failed", "Attempts that failed, by reason.", labels=["reason"]
        )
        for reason, count in sorted(self._measures.failures.items()):
            failures.add_metric([reason], count)
        yield failures
        finished = CounterMetricFamily("ariacluster_tasks_finished", "Tasks that came to an end.", labels=["state"])
        for state_name, count in sorted(self._measures.finished.items()):
            finished.add_metric([state_name], count)
        yield finished
        yield _counter("finished_bytes", "Bytes of the tasks that were completed.", self._measures.finished_bytes)

    def _nodes(self) -> Iterator[Metric]:
        """Of every member, as this node knows: exact for itself and on the leader."""
        views = self._services.overviews.nodes()
        for name, told, field in (
            ("online", "1 while the node is heard.", None),
            ("slots", "Downloads that it runs at a time.", "total_slots"),
            ("download_bytes_per_second", "Speed of all its downloads.", "download_speed"),
            ("upload_bytes_per_second", "Speed of all its uploads.", "upload_speed"),
            ("disk_free_bytes", "Free on the disk of its download folder.", "disk_free"),
            ("disk_total_bytes", "Size of that disk.", "disk_total"),
        ):
            family = GaugeMetricFamily(f"ariacluster_node_{name}", told, labels=["node"])
            for node in views:
                family.add_metric([node.name], getattr(node, field) if field else node.status != "offline")
            yield family

    def _itself(self) -> Iterator[Metric]:
        me = self._services.cluster.me
        info = GaugeMetricFamily("ariacluster_node_info", "This node.", labels=["id", "name", "version"])
        info.add_metric([me.id, me.name, me.version], 1)
        yield info
        yield _gauge("event_subscribers", "Readers of this node's events.", self._hub.subscribers)
        yield _histogram("loop_lag_seconds", "By how much the event loop was late.", self._measures.lag)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ariacluster_{name}", told, value=float(value))


def _counter(name: str, told: str, value: float) -> Metric:
    return CounterMetricFamily(f"ariacluster_{name}", told, value=float(value))


def _histogram(name: str, told: str, taken: Buckets) -> Metric:
    count, buckets = 0, []
    for bound, more in zip((*map(str, taken.bounds), "+Inf"), taken.counts, strict=True):
        count += more
        buckets.append((bound, float(count)))
    return HistogramMetricFamily(f"ariacluster_{name}", told, buckets=buckets, sum_value=taken.total)
