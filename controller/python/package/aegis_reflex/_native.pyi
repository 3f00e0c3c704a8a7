"""Functions of the Rust library. Results with several values are JSON; the modules beside this file give them their types."""

from typing import final

import numpy as np
from numpy.typing import NDArray

Settings = tuple[int, int, float, str]
Spent = tuple[list[int], list[int], list[int]]

@final
class Decision:
    """Decision at one chunk boundary."""

    @property
    def driver(self) -> str:
        """Who drives the chunk that begins here: "weak" or "strong"."""
    @property
    def score(self) -> float:
        """The probe's risk of failure, 0 to 1; NaN, which counts as the highest risk, for an activation with a value that is not finite."""
    @property
    def reading(self) -> float | None:
        """What the rule compared with its threshold; None for a rule that reads nothing."""
    @property
    def guarded(self) -> bool:
        """Whether the guard forbids fires here, at the beginning of the episode."""
    @property
    def armed(self) -> bool:
        """Whether the limits would have let the gate fire here."""
    @property
    def fired(self) -> bool:
        """Whether this boundary spent one fire."""
    @property
    def handed_over(self) -> bool:
        """Whether the driver differs from that of the previous chunk."""
    @property
    def budget_left(self) -> int:
        """Fires left after this boundary."""

@final
class Guard:
    @staticmethod
    def load(path: str, limits: str, rule: str) -> Guard: ...
    def reset(self) -> None: ...
    def boundary(self, step: int, activation: NDArray[np.float64], disagreement: float | None = None) -> Decision: ...
    def decide(self, step: int, score: float, disagreement: float | None = None) -> Decision: ...
    @property
    def width(self) -> int: ...
    @property
    def chunk_steps(self) -> int: ...

@final
class McNemarProcess:
    """Anytime-valid e-process over pairs of episodes, observed one after another: the mixture over a uniform chance above one half that
    the treatment wins a discordant pair. The null hypothesis is rejected with probability at most alpha over the whole course (Ville
    1939)."""

    def observe(self, treatment: bool, control: bool) -> None:
        """Adds a pair: whether the treatment won, and whether the control won."""
    @property
    def e_value(self) -> float:
        """E-value after the pairs observed so far."""
    @property
    def maximum(self) -> float:
        """Largest e-value so far, at least 1."""
    @property
    def p_value(self) -> float:
        """Anytime-valid p-value: 1 over the largest e-value."""
    def rejects(self, alpha: float) -> bool:
        """Whether the p-value is at most `alpha`."""

def defaults() -> str: ...
def fit_probe(
    rollouts: str, out: str, limits: str, settings: str, calibration_share: float, seed: int
) -> str: ...
def calibrate_probe(probe: str, rollouts: str, out: str, limits: str, alpha: float | None) -> str: ...
def scores(
    probe: str, rollouts: str
) -> tuple[list[int], list[int], list[int], list[float], list[bool], list[int], int]: ...
def mcnemar(b: int, c: int) -> str: ...
def mcnemar_mid_p(b: int, c: int) -> float: ...
def holm(p_values: list[float]) -> list[float]: ...
def clopper_pearson(k: int, n: int, confidence: float) -> tuple[float, float]: ...
def mcnemar_power(treatment_only: float, control_only: float, alpha: float, n: int) -> float: ...
def mcnemar_sample_size(
    treatment_only: float, control_only: float, alpha: float, power: float, limit: int
) -> str: ...
def auroc(
    labels: NDArray[np.bool_],
    scores: NDArray[np.float64],
    groups: NDArray[np.int64] | None,
    clusters: NDArray[np.int64] | None,
    settings: Settings | None,
) -> str: ...
def bootstrap_mean(values: NDArray[np.float64], clusters: NDArray[np.int64], settings: Settings) -> str: ...
def paired_effects(
    task: list[int], initial_state: list[int], weak: NDArray[np.bool_], arm: NDArray[np.bool_], settings: Settings
) -> str: ...
def budget_match(
    task: list[int],
    initial_state: list[int],
    treatment: Spent,
    control: Spent,
    tolerance: tuple[float, float],
    settings: Settings,
) -> str: ...
