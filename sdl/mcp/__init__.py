"""A Model Context Protocol server: what a language model may read, rehearse, submit and stop.

access    access to a lab: through a lab file of this account, or through a running lab with a named token
records   runs, explanations and figures, read from the records
handbook  the pages of the documentation
marked    texts that others wrote, marked as data
server    the tools; the only module that imports the package `mcp`
"""
