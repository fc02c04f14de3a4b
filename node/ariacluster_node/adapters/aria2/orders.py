"""What is told to aria2 of a job and of the limits, in its own options. Source: aria2 manual, "OPTIONS"."""

from typing import Any
from urllib.parse import urlsplit

from ariacluster_node.ports import EngineLimits, Job

from .flags import CONNECTIONS, SPLIT

_TEN_YEARS = "5256000"
"""Minutes. aria2 counts the seconds in 32 bits."""


def options_of(job: Job) -> dict[str, Any]:
    """The options of `aria2.addUri` for a job."""
    options: dict[str, Any] = dict(job.options)
    headers = [options["header"]] if "header" in options else []
    options |= {"gid": job.gid, "dir": str(job.folder), "header": [*headers, *job.headers]}
    if job.out is not None:
        options["out"] = job.out
    if job.checksum is not None:
        options["checksum"] = job.checksum
    if job.connections > 0:
        hosts = len({urlsplit(url).hostname for url in job.urls})
        _at_most(options, "max-connection-per-server", CONNECTIONS, job.connections)
        # aria2 spreads these over all mirrors, and opens no more to one of them than the above.
        _at_most(options, "split", SPLIT, job.connections * hosts)
    if "seed-ratio" in options:
        # The engine's own time of 0 would end the seeding before the ratio is looked at.
        options.setdefault("seed-time", _TEN_YEARS)
    if "select-file" in options:
        # A piece may reach into the neighbours of a selected file: their torsos would be published with it.
        options.setdefault("bt-remove-unselected-file", "true")
    return options


def limiting(limits: EngineLimits) -> dict[str, str]:
    """The options of `aria2.changeGlobalOption`. aria2 takes no number of downloads below 1, and no limit below 0."""
    return {
        "max-concurrent-downloads": str(max(1, limits.slots)),
        "max-overall-download-limit": str(max(0, limits.download_limit)),
        "max-overall-upload-limit": str(max(0, limits.upload_limit)),
    }


def _at_most(options: dict[str, Any], name: str, usual: int, most: int) -> None:
    own = str(options.get(name, usual))
    if own.isdecimal():  # what is no number is for aria2 to refuse
        options[name] = str(min(int(own), most))
