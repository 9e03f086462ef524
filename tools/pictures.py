"""Make the pictures of the documentation: figures, and screenshots in a Chromium of the system.

`python tools/docs.py --pictures` runs it; learning.png and solvers.png are drawn by the benchmarks. It needs the extra
`dev` and takes some three minutes, most of them for `sdl paper`.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
from playwright.sync_api import Browser, sync_playwright

import sdl
from sdl.report import style

SDL = (sys.executable, "-P", "-m", "sdl")
GOAL = {"445nm": 16384, "515nm": 16384, "630nm": 16384}
LAB = """\
name: bench
instruments:
  led-1: {instrument: {kind: twin, seed: 1, latency: 0.4, realtime: true}}
  led-2: {instrument: {kind: twin, seed: 2}}
jobs:
  led-3-channels: {campaign: led-3-channels.yaml, instrument: led-1, when: {asked: true}}
  hourly: {campaign: check.yaml, instrument: led-2, when: {cron: "0 * * * *"}}
"""
CAMPAIGNS = {
    "led-3-channels": "solver: bayes\nstop: {trials: 200, stagnation: null}\ntolerance: 0.1%\n"
    "goal: {445nm: 16384, 515nm: 20000, 630nm: 9000}\n",
    "check": "goal: {515nm: 20000}\n",
}


def draw_all(folder: Path) -> None:
    """Make every picture in a folder."""
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        campaign(folder / "campaign.png")
        compare(folder / "compare.png", Path(work))
        report(folder / "report.png", Path(work), browser)
        model(folder / "model.png", Path(work))
        web(folder / "web.png", Path(work), browser)
        paper(folder / "paper.png", Path(work))
        browser.close()


def campaign(file: Path) -> None:
    """A campaign on the twin, reading by reading."""
    events: list[Any] = []
    tree = {
        "name": "picture",
        "instrument": {"kind": "twin"},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "tolerance": "0.5%",
        "solver": {"kind": "gmm"},
        "seed": 8,
    }
    done = sdl.run(tree, runs=None, watch=lambda event, _: events.append(event))
    proposed = {e.trial: e for e in events if type(e).__name__ == "Proposed"}
    measured = [e for e in events if type(e).__name__ == "Measured"]
    colours = {"445nm": "#0072b2", "515nm": "#009e73", "630nm": "#d55e00"}
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.1), width_ratios=[1.5, 1], layout="constrained")
    x = range(1, len(measured) + 1)
    first = next(i for i, e in enumerate(measured, 1) if proposed[e.trial].by != "axis")
    for marker, (name, colour) in zip("osD", colours.items(), strict=True):
        left.plot(x, [e.readings[name] for e in measured], f"{marker}-", color=colour, lw=1, ms=4.5, label=name)
        off = [100 * (e.readings[name] / 16384 - 1) for e in measured[first - 1 :]]
        right.plot(x[first - 1 :], off, f"{marker}-", color=colour, lw=1, ms=4.5)
    left.axhline(16384, color="0.4", lw=0.8, ls="--", label="goal")
    left.set(xlabel="reading", ylabel="counts", ylim=(0, None), title="All readings")
    left.legend(frameon=False, ncols=2, loc="center right", bbox_to_anchor=(1, 0.62))
    right.axhspan(-0.5, 0.5, color="0.5", alpha=0.18, lw=0)
    right.set(xlabel="reading", ylabel="error (% of the target)", xlim=(first - 0.5, len(measured) + 0.5), ylim=(-2, 2))
    right.set_title("Trials of the solver, tolerance ± 0.5 %")
    for axis in (left, right):
        axis.set_xticks(list(x) if axis is left else list(range(first, len(measured) + 1)))
    for trial, event in proposed.items():
        of_trial = [i for i, e in enumerate(measured, 1) if e.trial == trial]
        rgb = [max(min(event.settings[n], 1), 0) ** 0.5 for n in "RGB"]
        left.axvspan(of_trial[0] - 0.5, of_trial[-1] + 0.5, ymin=0.94, color=rgb, lw=0)
        left.text(
            sum(of_trial) / len(of_trial), 0.9, event.by, transform=left.get_xaxis_transform(), ha="center", size=7
        )
        if event.by != "axis":
            right.axvline(of_trial[0] - 0.5, color="0.8", lw=0.8)
            words = {1: "outside", 3: "confirmed" if trial == done.best else "within, not confirmed"}
            middle, text = sum(of_trial) / len(of_trial), words.get(len(of_trial), "")
            right.text(middle, 0.04, text, transform=right.get_xaxis_transform(), ha="center", size=7)
    left.set_xlim(0.5, len(measured) + 0.5)
    left.set_ylim(0, 75000)
    figure.savefig(file, dpi=110)


def compare(file: Path, work: Path) -> None:
    """Four solvers with eight seeds each, at a tolerance of 0.4 %."""
    for solver in ("linear", "bayes", "gmm", "broyden"):
        for seed in range(8):
            tree = {
                "name": f"{solver}-{seed}",
                "instrument": {"kind": "twin", "seed": seed},
                "goal": GOAL,
                "seed": seed,
            }
            sdl.run(tree | {"tolerance": "0.4%", "solver": solver, "stop": {"trials": 25}}, runs=work / "compared")
    _command("compare", "compared", "--by", "solver.kind", "-o", "compare.png", cwd=work)
    _save(file, (work / "compare.png").read_bytes(), 0.8)


def report(file: Path, work: Path, browser: Browser) -> None:
    """The report of a run."""
    tree = {
        "name": "led-16384", "instrument": {"kind": "twin", "seed": 4}, "goal": GOAL, "tolerance": "0.5%", "confirm": 3,
        "design": {"kind": "latin-hypercube", "trials": 12}, "solver": "gmm", "seed": 4,
    }  # fmt: skip
    run = sdl.run(tree, runs=work / "runs").run
    _command("report", str(run), "-o", "report.html", cwd=work)
    page = browser.new_page(viewport={"width": 1100, "height": 1400})
    page.goto((work / "report.html").as_uri())
    _save(file, page.screenshot(), 0.8)


def model(file: Path, work: Path) -> None:
    """Slices and contours of the model of a mixture of three solvents, whose yield is maximised."""
    random = np.random.default_rng(3)

    def measure(settings: dict[str, float]) -> dict[str, float]:
        water, ethanol, acetone = (settings[name] for name in ("water", "ethanol", "acetone"))
        hill = math.exp(-((water - 0.25) ** 2 + (ethanol - 0.45) ** 2) / 0.06)
        purity = 99 - 6 * acetone - 3 * abs(water - 0.3)
        return {"yield": 20 + 55 * hill + 0.8 * random.normal(), "purity": purity + 0.1 * random.normal()}

    instrument = {
        "kind": "python",
        "inputs": {name: {"low": 0, "high": 1, "unit": "mL", "step": 0.01} for name in ("water", "ethanol", "acetone")},
        "channels": {"yield": {"unit": "%", "low": 0, "high": 100}, "purity": {"unit": "%"}},
        "constraints": ["water + ethanol + acetone = 1"],
        "off": "nothing",
    }
    tree = {
        "name": "solvents", "instrument": instrument, "goal": {"yield": "maximise", "purity": {"at least": 95}},
        "solver": "auto", "stop": {"trials": 25, "improvement": "1%"},
    }  # fmt: skip
    run = sdl.open_run(sdl.run(tree, measure=measure, runs=work / "runs").run)
    shots = [matplotlib.image.imread(io.BytesIO(style.png(run.figure(name)))) for name in ("slices", "contours")]
    high = max(shot.shape[0] for shot in shots)
    pads = [np.pad(s, ((0, high - s.shape[0]), (0, 14), (0, 0)), constant_values=1.0) for s in shots]
    joined = io.BytesIO()
    matplotlib.image.imsave(joined, np.concatenate(pads, axis=1))
    _save(file, joined.getvalue(), 0.8)


def web(file: Path, work: Path, browser: Browser) -> None:
    """The page of a run, light, beside the page of a lab on a narrow screen, dark."""
    (work / "lab.yaml").write_text(LAB, encoding="utf-8")
    for name, text in CAMPAIGNS.items():
        (work / f"{name}.yaml").write_text(f"name: {name}\ninstrument: twin\n{text}", encoding="utf-8")
    environment = {**os.environ, "XDG_STATE_HOME": str(work / "state")}
    lab = subprocess.Popen(
        [*SDL, "lab", "run", "lab.yaml"], cwd=work, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        if lab.stdout is None:
            raise SystemExit("the lab has no output")
        url = next(line for line in lab.stdout if line.startswith("page: ")).removeprefix("page: ").strip()
        _command("lab", "run-now", "led-3-channels", cwd=work, env=environment)
        time.sleep(40)
        run = next((work / "runs" / "led-3-channels").iterdir()).name
        wide = browser.new_page(viewport={"width": 900, "height": 880})
        wide.goto(f"{url.rstrip('/')}/runs/led-3-channels/{run}")
        narrow = browser.new_page(viewport={"width": 400, "height": 880}, color_scheme="dark")
        narrow.goto(url)
        time.sleep(2)
        shots = [matplotlib.image.imread(io.BytesIO(page.screenshot())) for page in (wide, narrow)]
    finally:
        lab.send_signal(signal.SIGTERM)
        lab.wait(60)
    gap = np.ones((shots[0].shape[0], 14, shots[0].shape[2]))
    joined = io.BytesIO()
    matplotlib.image.imsave(joined, np.concatenate([shots[0], gap, shots[1]], axis=1))
    _save(file, joined.getvalue(), 0.8)


def paper(file: Path, work: Path) -> None:
    """Table 1 of the paper as a figure."""
    _command("paper", "-o", "paper.html", "--png", "paper", cwd=work)
    _save(file, (work / "paper" / "table-1.png").read_bytes(), 1.0)


def _command(*arguments: str, **more: Any) -> None:
    subprocess.run([*SDL, *arguments], check=True, stdout=subprocess.DEVNULL, **more)


def _save(file: Path, png: bytes, scale: float) -> None:
    """Write a PNG of 256 colours, scaled."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    size = (round(image.width * scale), round(image.height * scale))
    image.resize(size, Image.Resampling.LANCZOS).quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(
        file, optimize=True
    )
