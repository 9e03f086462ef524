"""The web page: instruments, runs, live views and controls, served on this machine only.

server       `sdl web`; a lab serves the same pages
pages        the routes; render: templates and security headers
run_view     the page of one run, and its charts (charts, story)
workbench    the list of runs, with its filters
feeds, sse   live updates
start/       the form of a new campaign: its fields, its YAML, its forecast, and the processes that run it
person       what a person is asked for
made_files   reports and tables made for the page
"""
