"""Campaigns as tests: campaign files run over seeds and held to their `expect:` block.

judging   met, not met, or too few to tell; pure
running   a file's campaigns, on this machine, in one or more processes
"""

from sdl.verify.evaluate import (
    RISK,
    Evaluation,
    Level,
    Seen,
    broken,
    chance,
    ended,
    evaluate,
    kept,
    least_share,
    seeds_needed,
    sureness,
    together,
)
from sdl.verify.running import (
    CRASHED,
    OUT_OF_TIME,
    Verified,
    VerifyPlan,
    VerifyTask,
    again,
    plain,
    plan,
    run,
    verify,
    without,
)

__all__ = [
    "CRASHED",
    "OUT_OF_TIME",
    "RISK",
    "Evaluation",
    "Level",
    "Seen",
    "Verified",
    "VerifyPlan",
    "VerifyTask",
    "again",
    "broken",
    "chance",
    "ended",
    "evaluate",
    "kept",
    "least_share",
    "plain",
    "plan",
    "run",
    "seeds_needed",
    "sureness",
    "together",
    "verify",
    "without",
]
