"""Campaigns as tests: run campaign files over seeds and test them against their `expect:` block.

evaluate  met, not met, or too few seeds to tell; pure
running   the campaigns of a file, in one or more processes of this machine
"""

from sdl.verify.evaluate import (
    Evaluation,
    Level,
    SeedResult,
    broken_claims,
    describe_certainty,
    describe_end,
    describe_kept,
    evaluate,
    needs_all_seeds,
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
    "CRASHED", "OUT_OF_TIME", "Evaluation", "Level", "SeedResult", "Verified", "VerifyPlan", "VerifyTask",
    "broken_claims", "describe_certainty", "describe_end", "describe_kept", "evaluate",
    "lost_campaign", "needs_all_seeds", "plain", "plan", "rerun_command", "run",
    "verify",
]  # fmt: skip
