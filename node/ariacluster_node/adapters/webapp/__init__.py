"""The web app as a child of this node: started, started again when it ends, ended with the node."""

from .child import Patience, WebApp, command

__all__ = ["Patience", "WebApp", "command"]
