"""A rig whose script is killed again and again: `killed_rig.py WAY FOLDER KILLS SEED`.

WAY: `python` asks and tells in one process by `sdl.open_campaign`; `shell` runs one `sdl` command a call; `http` asks
`sdl web`, which is not killed. The script is a copy of this process (no time for imports), and is killed by SIGKILL
with all of its own children, at a random moment after a random number of steps. What it asked and told it writes to
FOLDER/script.log. In the end it runs undisturbed.
"""

import contextlib
import http.client
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sdl
from sdl.cli import main


def campaign():
    """The run that was begun, or the file: once it has ended, the file would begin another one."""
    begun = [file for file in Path("runs").glob("*/*/record.jsonl") if file.stat().st_size]
    return str(begun[0].parent) if begun else "rig.yaml"


def measured(trial, repeat, settings):
    """A noisy plant that gives the same reading for the same trial and repeat."""
    time.sleep(0.001)
    noise = random.Random(f"{trial} {repeat}")
    red, blue = settings["red"], settings["blue"]
    return {
        "R": round(5 + 4 * red + blue + noise.gauss(0, 3), 3),
        "B": round(2 + 3 * blue + red * blue / 300 + noise.gauss(0, 3), 3),
    }


def script(way, note):
    """The rig's script; `note` writes down each step."""
    {"python": by_python, "shell": by_shell, "http": by_http}[way](note)
    note("ended")


def by_python(note):
    note("before ask")
    opened = sdl.open_campaign(campaign(), runs="runs")
    while request := opened.ask():
        settings = dict(request.settings)
        note("asked", trial=request.trial, repeat=request.repeat, settings=settings)
        readings = measured(request.trial, request.repeat, settings)
        note("telling", trial=request.trial, repeat=request.repeat)
        opened.tell(request, readings, note="by script")
        note("told", trial=request.trial, repeat=request.repeat, readings=readings)


def by_shell(note):
    note("before ask")
    while (request := command("ask", campaign(), "--json"))["settings"] is not None:
        place = {"trial": request["trial"], "repeat": request["repeat"]}
        note("asked", **place, settings=request["settings"])
        readings = measured(**place, settings=request["settings"])
        words = [f"{name}={value!r}" for name, value in readings.items()]
        note("telling", **place)
        where = ["--trial", str(place["trial"]), "--repeat", str(place["repeat"])]
        command("tell", request["run"], *words, *where, "--json", "--note", "by script")
        note("told", **place, readings=readings)


def by_http(note):
    note("before ask")
    run = {"run": "/".join(Path(campaign()).parts[-2:])}
    while (request := post("ask", run))["settings"] is not None:
        place = {"trial": request["trial"], "repeat": request["repeat"]}
        note("asked", **place, settings=request["settings"])
        readings = measured(**place, settings=request["settings"])
        note("telling", **place)
        post("tell", {**run, **place, "readings": readings, "note": "by script"})
        note("told", **place, readings=readings)


def post(call, body):
    """The answer of `sdl web` to one call."""
    port, token = Path("server").read_text().split()
    server = http.client.HTTPConnection("127.0.0.1", int(port), timeout=600)
    server.request("POST", f"/api/v1/{call}", json.dumps(body), {"Authorization": f"Bearer {token}"})
    reply = server.getresponse()
    given = json.loads(reply.read())
    if reply.status != 200:
        raise SystemExit(f"{call}: {given}")
    return given


@contextlib.contextmanager
def web():
    """`sdl web` over a run that exists; its port and token are in the file `server`."""
    from sdl.lab.http.token import read

    sdl.open_campaign("rig.yaml", runs="runs")
    variables = {**os.environ, "XDG_STATE_HOME": str(Path("state").absolute())}
    with subprocess.Popen([sys.executable, "-P", "-m", "sdl", "web"], env=variables, stdout=subprocess.PIPE) as server:
        try:
            url = server.stdout.readline().split()[0].decode()
            token = read(next(Path("state").absolute().glob("sdl/labs/web-*/token")))
            Path("server").write_text(f"{url.rpartition(':')[2]} {token}")
            yield
        finally:
            server.terminate()
            server.stdout.close()


def command(*args):
    """One `sdl` command in a process of its own; its JSON object."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(there)
        os.dup2(here, 1)
        sys.argv, sys.stdout = ["sdl", *args], io.TextIOWrapper(os.fdopen(1, "wb"), encoding="utf-8")
        try:
            main()
        except SystemExit:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    os.close(here)
    with open(there) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def warm_up():
    """Import what the script will need, so that its copies need not."""
    from sdl.cli import ask  # noqa: F401
    from sdl.cli.display import outcome  # noqa: F401

    instrument = {"kind": "external", "inputs": {"red": {"high": 100}}, "channels": {"R": {}}}
    with tempfile.TemporaryDirectory() as runs:
        tree = {"name": "warm", "instrument": instrument, "goal": {"R": 30}, "solver": "linear"}
        opened = sdl.open_campaign(tree, runs=runs)
        while request := opened.ask():
            opened.tell(request, {"R": 3 * request.settings["red"]})


def start(way):
    """A copy of this process, in a group of its own, that runs the script; its number and a pipe of its steps."""
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(there)
        log = os.open("script.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        def note(step, **what):
            os.write(log, (json.dumps({"step": step, **what}) + "\n").encode())
            with contextlib.suppress(BrokenPipeError):
                os.write(here, b".")

        try:
            script(way, note)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    os.close(here)
    return child, there


def stop(child, pipe, chance):
    """Kill it after a random number of steps; whether it was still running."""
    for _ in range(chance.randrange(1, 6)):
        if not os.read(pipe, 1):
            break
    time.sleep(chance.choice((0.0, chance.uniform(0, 0.002), chance.uniform(0, 0.03))))
    os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(pipe)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the script failed")
    return os.WIFSIGNALED(status)


def rig(way, folder, kills, seed):
    warm_up()
    os.chdir(folder)
    with web() if way == "http" else contextlib.nullcontext():
        kill_and_repeat(way, kills, seed)


def kill_and_repeat(way, kills, seed):
    """Start the script again and again until the campaign ends."""
    chance, done, log = random.Random(seed), 0, Path("script.log")
    log.touch()
    while "ended" not in log.read_text():
        child, pipe = start(way)
        if done < kills:
            done += stop(child, pipe, chance)
        else:
            while os.read(pipe, 1):
                pass
            os.close(pipe)
            if os.waitpid(child, 0)[1]:
                raise SystemExit("the script failed")
    print(json.dumps({"kills": done}))


if __name__ == "__main__":
    rig(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
