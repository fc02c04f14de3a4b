"""The servers that downloads come from, as far as a cluster can tell."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Answer(NamedTuple):
    """What a server says to who begins a download: aria2's code and text, 0 for go ahead."""

    code: int = 0
    said: str = ""
    retry_after: int = 0


@dataclass
class Origin:
    """One `host:port`. `at_most`: downloads at a time before it asks for fewer, 0 for any number."""

    name: str
    ranges: bool = True
    at_most: int = 0
    retry_after: int = 0
    """What it says with it (ms), 0: nothing."""
    down: bool = False
    gone: bool = False
    """It has none of the files."""
    needs_link: set[str] = field(default_factory=set)
    """Paths that it refuses."""

    def answer(self, url: str, *, resumes: bool, others: int) -> Answer:
        """To a download that begins while `others` are running."""
        if self.down:
            return Answer(6, "network problem")
        if self.gone:
            return Answer(3, "resource not found")
        if url in self.needs_link:
            return Answer(22, "The response status is not successful. status=403")
        if self.at_most and others >= self.at_most:
            return Answer(22, "The response status is not successful. status=429", self.retry_after)
        if resumes and not self.ranges:
            return Answer(8, "server does not support resume")
        return Answer()
