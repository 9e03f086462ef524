"""The processes that run the campaigns of a lab, and the messages between them and the loop."""
