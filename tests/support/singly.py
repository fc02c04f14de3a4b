"""The `…_all` of the ports, asked for one: an error that is the answer is raised."""

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Receipt
from ariacluster_node.ports import Discarding, Downloader, Folders, Job, Publishing


async def add(downloader: Downloader, job: Job) -> None:
    [error] = await downloader.add_all([job])
    if error is not None:
        raise error


async def remove(downloader: Downloader, gid: str) -> None:
    [error] = await downloader.remove_all([gid])
    if error is not None:
        raise error


async def publish(folders: Folders, task_id: str, attempt: int, dir: str) -> Receipt:
    [published] = await folders.publish_all([Publishing(task_id, attempt, dir)])
    if isinstance(published, Unavailable):
        raise published
    return published


async def discard(folders: Folders, task_id: str, *, published: bool) -> None:
    [error] = await folders.discard_all([Discarding(task_id, published)])
    if error is not None:
        raise error
