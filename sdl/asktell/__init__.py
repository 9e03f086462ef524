"""Campaigns for those who drive their instrument themselves: ask for settings, tell the readings.

The engine and the record are those of `sdl run`; the performer of a measurement is the caller. Every call reads what
others have written to the record since, and holds its lock only while it writes one event.

open        the newest unfinished run of a campaign file, a new one, or a run by its name
campaign    ask, tell, attach, skip, correct
told        checks of what is told
attending   ask and wait until others have told every reading
"""

from sdl.asktell.campaign import OpenCampaign, Request
from sdl.asktell.open import open_campaign

__all__ = ["OpenCampaign", "Request", "open_campaign"]
