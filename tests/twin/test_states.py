"""The shipped states against the real readings and the paper, and states of one's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdl.twin.led.model import Plant
from sdl.twin.led.state import FOLDER, fingerprint, load, shipped

MAIN = ["445nm", "480nm", "515nm", "555nm", "590nm", "630nm"]


def rows(log: Path, part: str) -> list[dict]:
    lines = (json.loads(line) for line in log.read_text().splitlines())
    return [row for row in lines if part in row["source"] and len(row["out"]) == 10]


def noise_variance(plant: Plant, settings: dict[str, float]) -> np.ndarray:
    """What the model says of the noise, (m,), worked out apart from its code."""
    state = plant.state
    out = []
    for channel in state.channels.values():
        parts = {n: channel.gain[n] * state.jitter[channel.window] * np.sqrt(d * (1 - d)) for n, d in settings.items()}
        light = sum(channel.gain[n] * d for n, d in settings.items())
        jitter = sum(p * p for p in parts.values()) + 2 * 0.8 * parts["G"] * parts["B"]
        out.append(jitter + (state.proportional_noise * light) ** 2 + state.dark_noise**2 + 1 / 12)
    return np.array(out)


def test_the_night_state_explains_the_real_dark_readings_down_to_their_noise(real_readings: Path) -> None:
    plant = Plant(load("night-2025-10"))
    names = list(plant.state.channels)
    residual, variance = [], []
    for row in rows(real_readings, "version_251123"):
        settings = dict(zip("RGB", row["in"], strict=True))
        exact = plant.noise_free(settings)
        if row["time"] < 1761600000 or abs(row["out"]["nir"] - exact["nir"]) > 60:
            continue  # another season, or a room that was not dark: nir sees the room and hardly the LED
        measured = np.array([row["out"][n] + 0.5 if row["out"][n] < 65535 else np.nan for n in names])
        residual.append(measured - np.array(list(exact.values())))
        variance.append(noise_variance(plant, settings))
    assert len(residual) == 101
    ratio = np.sqrt(np.nanmean(np.square(residual), axis=0) / np.mean(variance, axis=0))
    worst = {name: round(float(ratio[names.index(name)]), 2) for name in MAIN}
    assert max(worst.values()) <= 1.25, worst


def test_the_night_state_scatters_like_the_fifty_real_repeats(real_readings: Path) -> None:
    real = rows(real_readings, "df_results_repeat")
    names = list(real[0]["out"])
    y = np.array([list(row["out"].values()) for row in real], dtype=float)
    drift = np.polynomial.polynomial.polyvander(np.linspace(-1, 1, len(y)), 1)  # the room grew brighter meanwhile
    y = y - drift @ np.linalg.lstsq(drift, y, rcond=None)[0]
    plant = Plant(load("night-2025-10"), seed=3)
    settings = dict(zip("RGB", real[0]["in"], strict=True))
    twin = np.array([list(plant.read(settings, 10.0 + k).readings.values()) for k in range(3000)])
    main = [names.index(name) for name in MAIN]
    sd_ratio = twin.std(axis=0)[main] / np.sqrt((y**2).sum(axis=0) / (len(y) - 2))[main]
    assert np.abs(sd_ratio - 1).max() <= 0.15, dict(zip(MAIN, sd_ratio.round(2), strict=True))
    apart = np.corrcoef(twin.T)[np.ix_(main, main)] - np.corrcoef(y.T)[np.ix_(main, main)]
    assert np.abs(apart).max() <= 0.2, apart.round(2)


def one_data_set(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """100 Latin-hypercube points on the paper's day: settings (100, 3), readings at 445, 515 and 630 nm (100, 3)."""
    plant = Plant(load("paper-2025-03"), seed=seed)
    rng = np.random.default_rng([seed, 9])
    x = (np.array([rng.permutation(100) for _ in range(3)]).T + rng.random((100, 3))) / 100
    readings = (plant.read(dict(zip("RGB", row, strict=True)), 1e9 + k).readings for k, row in enumerate(x.tolist()))
    return x, np.array([[reading[name] for name in ("445nm", "515nm", "630nm")] for reading in readings])


def test_the_paper_state_gives_the_paper_s_answers() -> None:
    """Digital Discovery 2025, Table 1: settings for 16384 counts in each of 445, 515 and 630 nm."""
    goal = np.full(3, 16384.0)
    means, spreads, lines = [], [], []
    for seed in range(12):
        x, y = one_data_set(seed)
        both = np.cov(np.hstack([x, y]).T, bias=True)
        backward = both[:3, 3:] @ np.linalg.inv(both[3:, 3:])  # a Gaussian, conditioned on the readings
        means.append(x.mean(axis=0) + backward @ (goal - y.mean(axis=0)))
        spreads.append(np.sqrt(np.diag(both[:3, :3] - backward @ both[3:, :3])))
        lines.append(np.linalg.solve(np.linalg.lstsq(x, y, rcond=None)[0].T, goal))  # no intercept, as in the paper
    assert np.mean(means, axis=0) == pytest.approx([0.4686, 0.2342, 0.5158], abs=0.004)
    assert np.abs(np.array(means) - [0.4686, 0.2342, 0.5158]).max() < 0.008
    assert np.mean(spreads, axis=0) == pytest.approx([0.0023, 0.0021, 0.0021], abs=0.00025)
    assert np.mean(lines, axis=0) == pytest.approx([0.486, 0.239, 0.524], abs=0.004)


CLAUDE_LIGHT = ("night-2024-09", "night-2025-10", "paper-2025-03")


def test_the_states_are_shipped_and_have_the_channels_of_the_instrument() -> None:
    assert set(CLAUDE_LIGHT) <= set(shipped())
    for name in CLAUDE_LIGHT:
        state = load(name)
        assert list(state.inputs) == ["R", "G", "B"]
        assert [*state.channels][:3] == ["415nm", "445nm", "480nm"]
        assert [*state.channels][-2:] == ["clear", "nir"]
        assert len(state.channels) == 10


def test_a_state_of_ones_own_is_read_and_told_apart_by_its_content(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    shutil.copy(FOLDER / "night-2025-10.toml", mine)
    first = fingerprint(str(mine))
    assert first.startswith("mine@")
    assert load(str(mine)) == load("night-2025-10")
    mine.write_text(mine.read_text().replace("64142", "60000"))
    assert fingerprint(str(mine)) != first
    assert load(str(mine)).channels["515nm"].gain["G"] == 60000


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("latency = 0.78", "latency = -1", "latency"),
        ('window = "C"', 'window = "D"', "'D' is not in jitter"),
        ("{ R = 425, G = 946, B = 1181 }", "{ R = 425, G = 946 }", "channels.415nm.gain"),
        ('inputs = ["G", "B"]', 'inputs = ["G", "X"]', "shared_jitter.inputs"),
        ("correlation = 0.8", "correlation = 1.0", "shared_jitter.correlation"),
        ("start = 2025-10-28T23:10:00Z", "start = 2025-10-28T23:10:00", "start"),
        ("start = 2025-10-28T23:10:00Z", "start = 1925-10-28T23:10:00Z", "before 1970"),
        ("A = 0.0045", "A = -0.0045", "jitter"),
        ("A = 0.0045", "A = nan", "jitter.A"),
        ("dark_noise = 0.27", "dark_nose = 0.27", "dark_nose"),
        ("[jitter]", "[jitter", "TOML|Expected"),
    ],
)
def test_a_mistake_in_a_state_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    mine = tmp_path / "mine.toml"
    text = (FOLDER / "night-2025-10.toml").read_text()
    assert old in text
    mine.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=says):
        load(str(mine))


def test_an_unknown_state_lists_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"'nigth'; allowed: night-2024-09, night-2025-10, paper-2025-03"):
        load("nigth")


def test_a_state_cannot_be_named_out_of_its_folder() -> None:
    with pytest.raises(ValueError, match="unknown state"):
        load("../states/night-2025-10")


def test_reading_a_state_loads_no_numpy() -> None:
    code = (
        "import sys; from sdl.drivers.twin.config import Twin; t = Twin();"
        "t.inputs, t.channels, t.identity, t.start_time;"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
