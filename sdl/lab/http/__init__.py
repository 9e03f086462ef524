"""The HTTP server of a lab: API, access tokens, and the client of the command line.

app           the server, in a thread of the lab's process
api           the routes; control: the commands and queries behind them
auth          checks of every request; token, named_tokens: who may send it
asking        ask and tell
submissions   campaigns of agents, with rehearsal; resumable: runs that can be continued
monitoring    readiness, and metrics for Prometheus
client        used by `sdl lab status` and the like
"""
