"""What the tests of the pool have done in other processes; imports little, because every process imports it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from sdl.parallel.pool import ONE_THREAD


def double(item):
    return 2 * item


def slow_first(item):
    time.sleep(0.2 if item == 0 else 0)
    return item


def threads(_):
    return os.getpid(), [os.environ.get(name) for name in ONE_THREAD]


def bad_third(item):
    if item == 3:
        raise ValueError("three is not for me")
    return item


def dies_until(item):
    """Dies by SIGKILL on item 2 as long as the file is short."""
    number, path = item
    if number == 2:
        with open(path, "a+") as file:
            file.write("x")
            file.seek(0)
            times = len(file.read())
        if times <= 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return number


def always_dies(item):
    if item == 1:
        os._exit(7)
    return item


def hangs_once(path):
    """Hangs where nobody has been before; leaves its process's number there."""
    if not path:
        return os.getpid()
    with open(path, "a") as file:
        file.write(f"{os.getpid()} ")
    time.sleep(60)


def waits_for_another(path):
    """Hangs in a process that it started; leaves that one's number."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as other, open(path, "w") as file:
        file.write(f"{other.pid}\n")
    return other.returncode


def foreign(_):
    class Strange(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    raise Strange("one", "two")


def own(error):
    raise error


def warm(_):
    return "sdl.runner.preload" in sys.modules


def lambda_made(_):
    return lambda: None


def hangs(item):
    if item > 1:
        time.sleep(60)
    return os.getpid()
