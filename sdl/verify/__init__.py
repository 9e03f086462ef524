"""Campaigns as tests: run campaign files over seeds and test them against their `expect:` block.

evaluate  met, not met, or too few seeds to tell; pure
running   the campaigns of a file, in one or more processes of this machine
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
)  # fmt: skip
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
)  # fmt: skip

__all__ = [
    "CRASHED", "OUT_OF_TIME", "RISK", "Evaluation", "Level", "SeedResult", "Verified", "VerifyPlan", "VerifyTask",
    "binomial_tail", "broken_claims", "describe_certainty", "describe_end", "describe_kept", "evaluate",
    "lost_campaign", "lower_confidence_bound", "needs_all_seeds", "plain", "plan", "rerun_command", "run",
    "seeds_needed", "verify",
]  # fmt: skip
