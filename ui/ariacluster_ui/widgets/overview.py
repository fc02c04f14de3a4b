"""The parts of the dashboard; some of them stand on other pages, too."""

from ariacluster_ui.assets import Island


class Kpis(Island, script="kpis"):
    """Five numbers, two of them with the line of the last minutes."""


class Throughput(Island, script="throughput"):
    """What each node downloads, in layers; with `only` (a node's id) that of one."""


class Topology(Island, script="topology"):
    """The leader and the others around it."""


class Fast(Island, script="fast"):
    """The fastest downloads."""


class Feed(Island, script="feed"):
    """What happened last; of one `node`, if that is given."""
