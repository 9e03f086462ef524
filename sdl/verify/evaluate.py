"""Evaluate an expectation: each claim is met, not met, or there are too few seeds to tell. Pure.

There are two kinds of claims. *Every seed* must end as expected and stay within `most`: one counterexample is enough.
The *median* and the *p95* are claims about all seeds, of which only a sample was run: the result says whether the
sample is large enough. If k of n seeds stay within the limit of a claim that a fraction p of all seeds must meet, the
claim is

    not met            k < p n: the sample contradicts it
    met                P(at least k of n | p) <= 5 %: unlikely if fewer than a fraction p of all seeds met it
    too few to tell    otherwise; the result says how many seeds would be enough at the same rate

(the exact binomial test; 5 of 5 seeds are enough for a median, 59 of 59 for a p95).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sdl.config import Expect
from sdl.config.expect import _Limits
from sdl.formatting import count, display

RISK = 0.05  # probability of calling a claim met that does not hold
SHARES = {"median": 0.5, "p95": 0.95}  # the fraction of all seeds that must stay within a limit
MAX_SEEDS_NEEDED = 10_000
Size = Callable[["SeedResult"], float]


@dataclass(frozen=True, slots=True)
class SeedResult:
    """The result for one seed.

    Attributes:
        outcome, reason, trials, readings: result of the campaign.
        error: the worst channel's relative error at the best settings, without noise if `noise_free`; None = unknown.
        noise_free: whether the instrument could give its readings without noise.
        verdict: the last one given by a solver; None without any.
        run: the record's directory; empty if none was kept.
    """

    seed: int
    outcome: str
    reason: str
    trials: int
    readings: int
    error: float | None
    noise_free: bool
    verdict: str | None
    run: str = ""


class Level(StrEnum):
    """The result of a claim."""

    MET = "met"
    UNSURE = "too few to tell"
    NOT = "not met"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of one claim.

    Attributes:
        claim: `outcome`, `verdict`, or such as `trials, median`.
        expected, seen: the expected and the observed value, as text.
        within, of: number of seeds that meet it, and number of seeds run.
        level: met, too few to tell, or not met.
        share: the fraction of all seeds that must meet it.
        at_least: lower 95 % confidence bound of the fraction of all seeds that meet it.
        needed: number of seeds that would be enough at the same rate; None if enough were run or no number is enough.
        seed: the worst seed that does not meet it; None if all do.
    """

    claim: str
    expected: str
    seen: str
    within: int
    of: int
    level: Level
    share: float
    at_least: float
    needed: int | None
    seed: int | None


def broken_claims(expect: Expect, seen: SeedResult) -> list[tuple[str, str, str]]:
    """The claims about every seed that one seed does not meet, as (claim, expected, seen)."""
    return [(c.claim, c.expected, c.text(seen)) for c in _claims(expect) if c.share == 1 and not c.keeps(seen)]


def evaluate(expect: Expect, seen: Sequence[SeedResult]) -> tuple[Evaluation, ...]:
    """Evaluate every claim of an expectation on the seeds that were run (at least one)."""
    return tuple(_judged(claim, seen) for claim in _claims(expect))


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim about a fraction of all seeds: its limit, the quantity compared with it, and that quantity as text."""

    claim: str
    expected: str
    share: float
    size: Size
    limit: float
    text: Callable[[SeedResult], str]

    def keeps(self, seen: SeedResult) -> bool:
        return self.size(seen) <= self.limit


def _claims(expect: Expect) -> Iterator[_Claim]:
    yield _Claim("outcome", expect.outcome, 1, lambda s: float(s.outcome != expect.outcome), 0, lambda s: s.outcome)
    if expect.verdict is not None:
        verdict = expect.verdict
        yield _Claim("verdict", verdict, 1, lambda s: float(s.verdict != verdict), 0, lambda s: s.verdict or "none")

    def trials(seen: SeedResult) -> float:
        return seen.trials if seen.outcome == expect.outcome else math.inf

    def error(seen: SeedResult) -> float:
        return math.inf if seen.error is None else seen.error

    def limits(name: str, given: _Limits | None, size: Size, text: Callable[[float], str]) -> Iterator[_Claim]:
        for key, limit in (given.given() if given is not None else {}).items():
            claim, expected, share = f"{name}, {key}", f"at most {text(limit)}", SHARES.get(key, 1)
            yield _Claim(claim, expected, share, size, limit, lambda seen: text(size(seen)))

    yield from limits("trials", expect.trials, trials, _number)
    yield from limits("error", expect.error, error, _percent)


def _judged(claim: _Claim, seen: Sequence[SeedResult]) -> Evaluation:
    ranked, n = sorted(seen, key=claim.size), len(seen)
    kept, worst = sum(map(claim.keeps, seen)), ranked[-1]
    must = claim.share * n - 1e-9
    level, needed = Level.MET, None
    if kept < must:
        level = Level.NOT
    elif claim.share < 1 and binomial_tail(kept, n, claim.share) > RISK:
        level, needed = Level.UNSURE, seeds_needed(kept, n, claim.share)
    is_word = claim.claim in ("outcome", "verdict")
    shown = f"{kept} of {n}" if is_word else claim.text(ranked[math.ceil(must) - 1])
    seed = None if claim.keeps(worst) else worst.seed
    at_least = lower_confidence_bound(kept, n)
    return Evaluation(claim.claim, claim.expected, shown, kept, n, level, claim.share, at_least, needed, seed)


def binomial_tail(kept: int, n: int, share: float) -> float:
    """P(at least `kept` of `n` seeds meet a claim) if a fraction `share` (0 … 1, exclusive) of all seeds meets it."""
    from scipy.special import bdtrc  # here, since `sdl --help` loads this module

    return float(bdtrc(kept - 1, n, share)) if kept > 0 else 1.0


def lower_confidence_bound(kept: int, n: int) -> float:
    """Lower 95 % confidence bound of the fraction of seeds that meet a claim, if `kept` of `n` do.

    One-sided interval of Clopper and Pearson (Biometrika 26, 1934).
    """
    from scipy.special import betaincinv

    return float(betaincinv(kept, n - kept + 1, RISK)) if kept > 0 else 0.0


def seeds_needed(kept: int, n: int, share: float) -> int | None:
    """Number of seeds with which a claim would be met at the same rate; None: more than `MAX_SEEDS_NEEDED`."""
    many = n
    while many < MAX_SEEDS_NEEDED:
        many += max(1, many // 50)
        so_many = kept * many // n
        if so_many >= share * many and binomial_tail(so_many, many, share) <= RISK:
            return many
    return None


def needs_all_seeds(expect: Expect) -> bool:
    """Whether an expectation has a claim about all seeds together: a median or a p95."""
    return any(claim.share < 1 for claim in _claims(expect))


def describe_end(seen: SeedResult) -> str:
    """The end of one campaign, as text."""
    kind = "noise-free" if seen.noise_free else "measured"
    off = "" if seen.error is None else f", {kind} error {_percent(seen.error)}"
    verdict = display(seen.verdict or "none")
    return f"{display(seen.outcome)} after {count(seen.trials, 'trial')}{off}, verdict {verdict}: {seen.reason}"


def describe_kept(finding: Evaluation) -> str:
    """The number of seeds that meet a claim, as text."""
    needed = f"{100 * finding.share:.0f} %" if finding.share < 1 else "all"
    return f"{finding.within} of {count(finding.of, 'seed')} within the limit, {needed} required"


def describe_certainty(finding: Evaluation) -> str:
    """What the seeds that were run say about all others, as text."""
    if finding.level is Level.UNSURE:
        more = f"{finding.needed} seeds" if finding.needed else "no number of seeds is enough at this rate"
        return f"{describe_kept(finding)}; needed to be sure: {more}"
    if finding.level is Level.NOT:
        return ""
    return "at 95 % confidence" if finding.share < 1 else f"by at least {100 * finding.at_least:.0f} % of all seeds"


def _number(value: float) -> str:
    return "ended otherwise" if math.isinf(value) else f"{value:g}"


def _percent(value: float) -> str:
    return "unknown" if math.isinf(value) else f"{100 * value:.3g} %"
