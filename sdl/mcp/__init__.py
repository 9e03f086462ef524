"""A Model Context Protocol server: what a language model may read, rehearse, submit and stop.

access    the two ways in: a lab file of this account, or a running lab with a named token
records   runs, explanations and figures, read from the records
handbook  the pages of the documentation
marked    texts of others as marked data
server    the tools; the only module that imports the package `mcp`
"""
