"""Campaigns as tests: campaign files run over seeds and held to their `expect:` block.

judging   met, not met, or too few to tell; pure
running   a file's campaigns, on this machine, in one or more processes
"""

from sdl.verify.evaluate import (
    RISK,
    Evaluation,
    Level,
    SeedResult,
    binomial_tail,
    broken_claims,
    describe_certainty,
    describe_end,
    describe_kept,
    evaluate,
    lower_confidence_bound,
    needs_all_seeds,
    seeds_needed,
)
from sdl.verify.running import (
    CRASHED,
    OUT_OF_TIME,
    Verified,
    VerifyPlan,
    VerifyTask,
    lost_campaign,
    plain,
    plan,
    rerun_command,
    run,
    verify,
)

__all__ = [
    "CRASHED",
    "OUT_OF_TIME",
    "RISK",
    "Evaluation",
    "Level",
    "SeedResult",
    "Verified",
    "VerifyPlan",
    "VerifyTask",
    "binomial_tail",
    "broken_claims",
    "describe_certainty",
    "describe_end",
    "describe_kept",
    "evaluate",
    "lost_campaign",
    "lower_confidence_bound",
    "needs_all_seeds",
    "plain",
    "plan",
    "rerun_command",
    "run",
    "seeds_needed",
    "verify",
]
