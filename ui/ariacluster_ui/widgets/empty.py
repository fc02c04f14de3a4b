"""What stands where nothing is: it says what would be here and how it comes."""

from ariacluster_ui.assets import Island


class Empty(Island, script="empty"):
    """An icon, a heading, a sentence, and a link or a command."""


def empty(icon: str, heading: str, text: str = "", *, action: str = "", to: str = "", code: str = "") -> Empty:
    return Empty(icon=icon, heading=heading, text=text, action=action, to=to, code=code)
