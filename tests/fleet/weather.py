"""How likely small misfortunes are."""

from dataclasses import dataclass


@dataclass
class Weather:
    """How likely (in [0, 1]) each small misfortune is, every time it can happen. Calm by default."""

    loses_proposal: float = 0.0
    loses_answer: float = 0.0
    delays_proposal: float = 0.0
    repeats_proposal: float = 0.0
    loses_report: float = 0.0
    lags: float = 0.0
    breaks_transfer: float = 0.0
    dies_publishing: float = 0.0


STORMY = Weather(
    loses_proposal=0.03,
    loses_answer=0.03,
    delays_proposal=0.02,
    repeats_proposal=0.02,
    loses_report=0.1,
    lags=0.3,
    breaks_transfer=0.02,
    dies_publishing=0.01,
)
