"""Campaigns for those who drive their instrument themselves: ask for settings, tell the readings.

The engine and the record are those of `sdl run`, but the caller takes the readings. Every call first reads what others
have written to the record, and locks the record only while it writes one event.

open        the newest unfinished run of a campaign file, a new one, or a run by its name
campaign    ask, tell, attach, skip, correct
told        checks of what is told
attending   ask for each reading and wait until others have told it
generator   the solvers for Xopt, Optimas and libEnsemble: suggest, ingest
"""

from sdl.asktell.campaign import OpenCampaign, Request
from sdl.asktell.generator import Generator
from sdl.asktell.open import open_campaign

__all__ = ["Generator", "OpenCampaign", "Request", "open_campaign"]
