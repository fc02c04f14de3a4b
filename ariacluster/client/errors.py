"""What can go wrong before a node has said anything."""

from ariacluster.domain.errors import AriaClusterError


class NotReached(AriaClusterError):
    """No node answered. `detail` names the URL that was tried and says what to do; nothing is known to have changed."""

    code, status, title = "not_reached", 503, "No node was reached"
