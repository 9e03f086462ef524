"""Starting and continuing campaigns from the page: the form, its YAML, the forecast, and the processes."""
