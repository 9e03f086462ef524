"""Messages to people, by email, chat or any service that Apprise knows.

model    recipients and notices: the key `notify` of a campaign or lab file
outbox   messages on the disk, kept until they are sent
sender   a thread per recipient: retries, quiet hours, the hourly limit

The texts are written elsewhere: of a lab in `sdl.lab.rules.notices`, of a single run in `sdl.runner.messages`.
"""
