"""The replicated log, by PySyncObj: the only folder that knows it. `README.md` tells how it is made safe."""

from .consensus import PySyncObjConsensus

__all__ = ["PySyncObjConsensus"]
