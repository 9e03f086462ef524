"""Starting and continuing campaigns from the page.

page          what the form shows at first
form          the fields of the form, and the YAML made from them and read back into them
api           the calls of the page: draft, forecast, start, resume
instruments   what may be started
launcher      the processes of the campaigns
actions       ways to continue a run
"""
