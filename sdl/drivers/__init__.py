"""The instruments of a campaign file: a file or a folder for each `kind`, with its options and its driver.

`base` is the contract. Kinds that need no Python, because a campaign file declares their inputs and channels:

command/         any program that reads and writes lines of JSON
http_api/        kind http: an instrument behind HTTP requests
scpi/            lines of text over a serial port, a socket or USB, in SCPI or in commands of the device's own
python_function  kind python: a function
manual           a person
external         a script or robot that asks for settings and tells the readings

Shared by several kinds:

declared/        ramp, settling, derived channels and limits of instruments that a campaign file declares
checks           settings before they are sent, and readings before they are recorded
baseline         background readings
lamp             whether a reply proves that a lamp is off
http, rate_limit, environment, strict_json   requests over HTTP, their rate, proxies and certificates, answers
trust            which files may name programs, code or addresses
commissioning/   `sdl instrument check`
"""
