"""The composition root: the only file that names every adapter. What starts when, what stops when, and why."""

import asyncio
import contextlib
import gc
import os
import sys
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, Any

import structlog
import typer

from ariacluster import __version__
from ariacluster.domain.commands import LANGUAGE
from ariacluster.domain.errors import Broken, StartFailed, WrongSettings
from ariacluster.domain.formation import Membership
from ariacluster.domain.member import Member, at

from . import config, lifecycle, logs
from .adapters import webapp
from .adapters.aria2.downloader import Aria2Downloader
from .adapters.aria2.flags import Tuning
from .adapters.aria2.none import NoDownloader
from .adapters.mdns.discovery import ZeroconfDiscovery
from .adapters.origins.http import HttpOrigins
from .adapters.peers.documents import HttpDocuments
from .adapters.peers.http import HttpPeers
from .adapters.peers.partials import HttpPartials
from .adapters.peers.session import PeerSession
from .adapters.raft import PySyncObjConsensus
from .adapters.storage.documents import DocumentFolder
from .adapters.storage.folders import DownloadFolders
from .adapters.storage.state import NodeState
from .adapters.system.clock import SystemClock
from .adapters.system.machine import LocalMachine, host_name, local_address
from .adapters.system.supervisor import Supervisor
from .adapters.system.vault import SivVault
from .api import documents as documents_api
from .api import events as events_api
from .api import gate
from .api import metrics as metrics_api
from .api import partials as partials_api
from .api.answers import Services
from .api.app import make_app
from .config import Settings
from .ports import Downloader
from .services.asking import Asking
from .services.attendance import Attendance
from .services.bulk import Bulk
from .services.catalogue import Catalogue
from .services.cluster import Cluster
from .services.dispatcher import Dispatcher
from .services.documents import Documents
from .services.event_hub import EventHub
from .services.forming import Forming
from .services.handover import Handover
from .services.history import Histories
from .services.lan import Lan
from .services.listing import Listing
from .services.measures import Measures
from .services.members import Members
from .services.moving import Moving
from .services.overview import Overviews
from .services.policy import Policies
from .services.probing import Probing
from .services.relaying import Relaying
from .services.replica import Replica
from .services.reports import Reports
from .services.roster import Roster
from .services.secrets import OpeningOrigins, Secrets
from .services.submitting import Submitting
from .services.tasks import Tasks
from .services.transfers import Transfers
from .services.voters import Voters
from .services.worker import Worker

log = structlog.get_logger()

ANYWHERE = ("0.0.0.0", "::")
HERE = {"0.0.0.0": ["127.0.0.1"], "::": ["127.0.0.1", "[::1]"]}
"""Where a node that listens everywhere is found on its own machine."""


async def serve(settings: Settings, supervisor: Supervisor) -> None:
    """Run a node until cancelled, at whatever point. `StartFailed` if it cannot start, `Broken` if it cannot go on; nothing
    is left running then.

    Start: what can refuse (folders, ports, engine) before what others see (API, announcement, consensus), so that a node
    that cannot work never appears. Stop: the other way round; the engine last but one, for its downloads must not outlive
    the lock on the data folder.
    """
    async with contextlib.AsyncExitStack() as stack:
        lifecycle.open_more()
        state = NodeState(settings.data_folder)
        await state.lock()
        stack.push_async_callback(state.unlock)
        node_id = await state.identity()
        name = settings.name or host_name()
        logs.bind(on=name, on_id=node_id)
        log.info(
            "starting", version=__version__, data=str(settings.data_folder), downloads=str(settings.download_folder)
        )
        remembered = _own(await state.membership(), settings)
        await state.check_log(remembered)

        folders = DownloadFolders(settings.download_folder)
        if not settings.witness and (trouble := await folders.trouble()):
            raise StartFailed(f"{trouble} Choose another folder with --dir.", field="dir")
        api_socket = lifecycle.listen(settings.bind, settings.port, "API")
        stack.callback(api_socket.close)
        # Strangers may knock there too: it reads nothing before they have proved that they know the cluster's key.
        peer_socket = lifecycle.listen(settings.bind, settings.consensus_port, "consensus")
        stack.callback(lambda: peer_socket.close())
        roams = settings.bind in ANYWHERE
        address = local_address(settings.bind) if roams else settings.bind

        downloader: Downloader = NoDownloader()
        if not settings.witness:
            downloader = Aria2Downloader(
                settings.data_folder,
                tuning=Tuning(slots=settings.slots, dht=settings.dht, lpd=settings.dht),
                aria2c=settings.engine,
            )
        await downloader.start()
        stack.push_async_callback(downloader.stop)

        clock = SystemClock()
        me = Member(
            id=node_id,
            name=name,
            address=address,
            port=settings.port,
            raft=at(address, settings.consensus_port),
            slots=0 if settings.witness else settings.slots,
            tags=settings.tags,
            version=__version__,
            witness=settings.witness,
            speaks=LANGUAGE,
            ui_port=settings.ui_port if settings.ui else 0,
        )
        peers = HttpPeers()
        await peers.start()
        stack.push_async_callback(peers.stop)
        session = PeerSession(lambda: peers.key)
        await session.start()
        stack.push_async_callback(session.stop)
        asked = HttpOrigins(clock)
        await asked.start()
        stack.push_async_callback(asked.stop)

        secrets = Secrets(SivVault(), lambda: peers.key)
        origins = OpeningOrigins(asked, secrets)
        replica = Replica(node_id, clock)
        logs.name_nodes(lambda node: replica.table.name_of(node))
        word = token_urlsafe()
        itself = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(settings.bind, settings.bind)
        documents = Documents(
            replica,
            DocumentFolder(settings.data_folder / "documents"),
            HttpDocuments(session),
            clock,
            served_at=f"http://{at(itself, settings.port)}/engine/{word}",
        )
        roster = Roster(replica, clock)
        discovery = ZeroconfDiscovery(settings.bind) if settings.mdns else None
        lan = Lan(discovery, peers, clock, lambda: cluster.announcement())
        whereabouts = partial(asyncio.to_thread, local_address, settings.bind) if roams else None
        cluster = Cluster(
            me, settings.cluster, remembered, replica, lan, state, whereabouts=whereabouts, invited=bool(settings.join)
        )
        forming = Forming(cluster, lan, peers, clock, multicast=discovery is not None, invited_by=tuple(settings.join))
        moving = Moving(cluster, replica, lan, forming, state, clock, secrets)
        worker = Worker(
            replica,
            downloader,
            folders,
            machine=LocalMachine(
                settings.download_folder
            ),  # its own: what it tells of the CPU counts from call to call
            asking=Asking(origins, folders),
            secrets=secrets,
            documents=documents,
            transfers=Transfers(replica, folders, HttpPartials(session)),
        )
        dispatcher = Dispatcher(replica, roster, clock, node_timeout=settings.node_timeout)
        voters = Voters(replica, clock)
        attendance = Attendance(
            replica, roster, clock, node_timeout=settings.node_timeout, forget_after=settings.forget_after
        )
        machine = LocalMachine(settings.data_folder if settings.witness else settings.download_folder)
        reports = Reports(replica, roster, cluster, worker, downloader, machine, peers, clock)
        members = Members(replica, roster, clock)
        probing = Probing(replica, origins, clock)
        submitting = Submitting(replica, cluster, clock, probing, secrets, documents)
        tasks = Tasks(replica, roster, submitting, clock, probing)
        listing = Listing(replica, tasks, members, Catalogue(replica, roster, clock), clock)
        services = Services(
            tasks=tasks,
            members=members,
            overviews=Overviews(replica, roster, members, cluster, moving, lan, clock),
            replica=replica,
            cluster=cluster,
            moving=moving,
            reports=reports,
            policies=Policies(replica),
            histories=Histories(replica),
            listing=listing,
            submitting=submitting,
            bulk=Bulk(replica, listing),
            relaying=Relaying(replica, cluster, members, tasks, downloader, peers),
        )
        hub = EventHub(replica, roster, cluster, services.overviews, services.tasks, services.histories)
        application = make_app(services, allowed_hosts=settings.allow_host)
        events_api.open_to(application, hub)
        measures = Measures(replica)
        metrics_api.open_to(application, measures, hub)
        documents_api.open_to(application, documents, word)
        partials_api.open_to(application, Handover(replica, folders, worker.writes))
        await stack.enter_async_context(gate.opened(application, api_socket))

        if discovery is not None:
            await discovery.start(cluster.announcement())
            stack.push_async_callback(discovery.stop)
        supervisor.ready()
        supervisor.status(f"looking for the cluster {settings.cluster!r}")

        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def end(reason: str) -> None:
            if not broken.done():
                broken.set_result(reason)

        # What is there now stays: full collections, which hold up the loop, need not look through it again and again.
        gc.collect()
        gc.freeze()

        async def live() -> None:
            membership = await forming.form()
            await state.tidy(membership.cluster_id)
            replica.settled = await state.heritage(membership.cluster_id) is None
            while True:
                await moving.move(await belong())

        async def belong() -> Membership:
            """Take part in the cluster until this node leaves it for another one: which one."""
            nonlocal peer_socket
            if peer_socket.fileno() < 0:
                peer_socket = lifecycle.listen(settings.bind, settings.consensus_port, "consensus")
            membership = cluster.membership
            assert membership is not None
            peers.key = bytes.fromhex(membership.key)
            consensus = PySyncObjConsensus(
                replica,
                me=node_id,
                listen=peer_socket,
                cluster_id=membership.cluster_id,
                key=peers.key,
                addresses={node: where for node, where in membership.peers.items() if node != node_id},
                found=cluster.founds,
                folder=state.log_folder(membership.cluster_id),
                on_failure=end,
            )
            await consensus.start()
            replica.attach(consensus)
            try:
                loops = [cluster.run(), voters.run(), dispatcher.run(), attendance.run(), reports.run()]
                loops += [documents.run(), probing.run(), come_up()]
                if settings.witness:
                    worker.trouble = ""  # it is well, and has nothing to do
                else:
                    loops.append(worker.run())
                async with lifecycle.cancelled_at_exit(*loops):
                    left = asyncio.create_task(moving.departure())
                    ended: set[asyncio.Future[Any]] = {left, broken}
                    try:
                        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        left.cancel()
                    if broken.done():
                        raise Broken(broken.result())
                    return left.result()
            except asyncio.CancelledError:
                await voters.farewell()
                raise
            finally:
                replica.detach()
                await consensus.stop()

        async def come_up() -> None:
            await cluster.register()
            await moving.unpack()
            await lan.announce()
            supervisor.status(f"up in cluster {settings.cluster!r}")
            _say_up(settings, cluster)

        page = _webapp(settings)
        async with lifecycle.cancelled_at_exit(live(), hub.run(), measures.run(), supervisor.run()):
            # The web app ends before them: what somebody has just told it, the node still does.
            await (page.run() if page is not None else asyncio.Event().wait())


def _webapp(settings: Settings) -> webapp.WebApp | None:
    """The web app over this node; None if nobody wants it or it is not installed."""
    if not settings.ui:
        return None
    here = HERE.get(settings.bind, [f"[{settings.bind}]" if ":" in settings.bind else settings.bind])
    told = webapp.command(
        urls=[f"http://{host}:{settings.port}" for host in here],
        host=settings.bind,
        port=settings.ui_port,
        storage=str(settings.data_folder / "ui"),
        names=settings.allow_host,
    )
    if told is None:
        log.warning("the web app is not installed; the node works without it")
        return None
    return webapp.WebApp(told)


def _own(remembered: Membership | None, settings: Settings) -> Membership | None:
    """What was remembered, if it is of the cluster that the settings name."""
    if remembered is not None and remembered.cluster_name != settings.cluster:
        raise WrongSettings(
            f"The data folder {settings.data_folder} belongs to the cluster {remembered.cluster_name!r}, not to "
            f"{settings.cluster!r}. Start with --cluster {remembered.cluster_name}, or with another --data.",
            field="cluster",
        )
    return remembered


def _say_up(settings: Settings, cluster: Cluster) -> None:
    me, leader = cluster.me, cluster.leader()
    if settings.log_format == "json":
        log.info("up", cluster=settings.cluster, api=f"http://{me.door}", downloads=str(settings.download_folder))
        return
    role = "leads it" if leader and leader.id == me.id else f"led by {leader.name}" if leader else "no leader yet"
    page = f"Web app http://{at(me.address, me.ui_port)} · " if me.ui_port else ""
    sys.stdout.write(
        f"{me.name} is up in cluster {settings.cluster!r} ({role}). {page}API http://{me.door} · "
        f"downloads in {settings.download_folder}\n"
        "The cluster is open: whoever reaches this port may use it.\n"
    )
    sys.stdout.flush()


class Exit:
    """What a supervisor sees. 0: it was told to stop."""

    FAILED = 1  # a port in use, a disk that is full or not mounted: to start again may help
    WRONG_SETTINGS = 2  # or words on the command line: to start again does not


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: ariacluster up --dir /srv/downloads --slots 8 --tag place=attic")
def up(
    name: Annotated[str | None, typer.Option(help=config.sentence("name"))] = None,
    cluster: Annotated[str | None, typer.Option(help=config.sentence("cluster"))] = None,
    bind: Annotated[str | None, typer.Option(help=config.sentence("bind"), metavar="ADDRESS")] = None,
    port: Annotated[int | None, typer.Option(help=config.sentence("port"))] = None,
    peer_port: Annotated[int | None, typer.Option(help=config.sentence("peer_port"))] = None,
    ui: Annotated[bool | None, typer.Option(help=config.sentence("ui"))] = None,
    ui_port: Annotated[int | None, typer.Option(help=config.sentence("ui_port"))] = None,
    data: Annotated[str | None, typer.Option(help=config.sentence("data"), metavar="FOLDER")] = None,
    dir: Annotated[str | None, typer.Option(help=config.sentence("dir"), metavar="FOLDER")] = None,
    join: Annotated[list[str] | None, typer.Option(help=config.sentence("join"), metavar="HOST[:PORT]")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help=config.sentence("allow_host"), metavar="NAME")] = None,
    mdns: Annotated[bool | None, typer.Option(help=config.sentence("mdns"))] = None,
    tag: Annotated[list[str] | None, typer.Option(help=config.sentence("tags"), metavar="KEY=VALUE")] = None,
    slots: Annotated[int | None, typer.Option(help=config.sentence("slots"))] = None,
    witness: Annotated[bool | None, typer.Option("--witness", help=config.sentence("witness"))] = None,
    forget_after: Annotated[float | None, typer.Option(help=config.sentence("forget_after"), metavar="SECONDS")] = None,
    node_timeout: Annotated[float | None, typer.Option(help=config.sentence("node_timeout"), metavar="SECONDS")] = None,
    dht: Annotated[bool | None, typer.Option(help=config.sentence("dht"))] = None,
    aria2c: Annotated[str | None, typer.Option(help=config.sentence("aria2c"), metavar="FILE")] = None,
    log_level: Annotated[str | None, typer.Option(help=config.sentence("log_level"))] = None,
    log_format: Annotated[str | None, typer.Option(help=config.sentence("log_format"))] = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="A TOML file with these settings.")] = None,
) -> None:
    """Start a node: it finds the others on this LAN, or begins a cluster of its own."""
    flags: dict[str, Any] = {
        "name": name,
        "cluster": cluster,
        "bind": bind,
        "port": port,
        "peer_port": peer_port,
        "ui": ui,
        "ui_port": ui_port,
        "data": data,
        "dir": dir,
        "allow_host": allow_host or None,
        "join": join or None,
        "mdns": mdns,
        "tags": _tags(tag) if tag else None,
        "slots": slots,
        "witness": witness,
        "forget_after": forget_after,
        "node_timeout": node_timeout,
        "dht": dht,
        "aria2c": aria2c,
        "log_level": log_level,
        "log_format": log_format,
    }
    settings = config.load(flags, file=config_file)
    logs.configure(settings.log_level, settings.log_format)
    supervisor = Supervisor()

    def stopping() -> None:
        log.info("stopping")
        supervisor.stopping()

    try:
        asyncio.run(lifecycle.until_told(serve(settings, supervisor), on_stop=stopping))
        log.info("stopped")
    except StartFailed as error:
        if settings.log_format == "text":
            raise
        log.error("the node cannot start", reason=error.detail)
        sys.exit(_exit_code(error))


def _tags(pairs: list[str]) -> dict[str, str]:
    tags = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise WrongSettings(f"{pair!r} is no tag; write KEY=VALUE.", field="tags")
        tags[key] = value
    return tags


def _exit_code(error: StartFailed) -> int:
    return Exit.WRONG_SETTINGS if isinstance(error, WrongSettings) else Exit.FAILED


def main() -> None:
    """The program `ariacluster-node`; `ariacluster up` runs it under its own name."""
    try:
        app(prog_name=os.environ.get("ARIACLUSTER_PROG", "ariacluster-node"))
    except StartFailed as error:
        sys.stderr.write(f"error: {error.detail}\n")
        sys.exit(_exit_code(error))
    except Broken as error:
        log.error("the node has to stop", reason=error.detail)
        sys.exit(Exit.FAILED)


if __name__ == "__main__":
    main()
