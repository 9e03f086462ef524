"""The instruments of a campaign file: a file or a folder for each `kind`, with its options and its driver.

`base` is the contract. Shared by several kinds:

declared/        ramp, settling, derived channels and limits of instruments that a campaign file describes
checks           settings before they are sent, and readings before they are recorded
baseline         background readings
lamp             whether a reply proves that a lamp is off
http, rate_limit, environment, strict_json   requests over HTTP, their rate, proxies and certificates, answers
trust            which files may name programs, code or addresses
commissioning/   `sdl instrument check`
"""
