"""The notices of a lab: `notices` writes their text from events, `dispatch` passes them to the outbox."""
