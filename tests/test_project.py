"""The project about itself: what importing costs, that examples and configurations run, that no machine shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer
from waiting import TIMEOUT

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("numpy", "scipy", "sklearn", "pandas", "matplotlib", "gmr", "ForestDiffusion", "xgboost", "httpx")
HEAVY += ("pyarrow", "distributed")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "sdl").rglob("*.py")
    if path.name != "__main__.py"
)
CONFIGS = [file for file in sorted((ROOT / "configs").glob("*.yaml")) if not file.name.startswith("lab-")]
PLUGIN = "sdl" if any(e.name == "sdl" for e in entry_points(group="pytest11")) else "sdl.testing.plugin"
"""Our pytest plugin: its entry point where this Python has the package installed, else its module."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def python(*args: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, warnings being errors, that finds the package of this folder."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **variables}
    command = [sys.executable, "-W", "error", *args]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=TIMEOUT,
    )


# --- what importing and starting cost -----------------------------------------------------------------------------

RUN_AND_TELL = """
import json, sys
from sdl.cli import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": code or 0, "loaded": loaded}), file=sys.stderr)
"""
VERBS = [["--help"], ["validate", "configs/quickstart.yaml"]]


def start(*args: str) -> dict[str, object]:
    done = python("-c", RUN_AND_TELL, *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("args", VERBS, ids=" ".join)
def test_help_and_validate_load_no_heavy_library(args: list[str]) -> None:
    printed = start(*args)
    assert printed["code"] == 0
    assert [name for name in HEAVY if name in printed["loaded"]] == []


def test_a_command_loads_no_other_command() -> None:
    words = "import sys; from sdl.cli.commands import make_app; make_app('list'); print(*sys.modules)"
    loaded = {name for name in python("-c", words).stdout.split() if name.startswith("sdl.")}
    assert "sdl.cli.runs.show" in loaded
    others = (
        "sdl.cli.run",
        "sdl.cli.lab",
        "sdl.cli.twin",
        "sdl.cli.sweep",
        "sdl.config",
        "sdl.store.datasets",
        "sdl.lab",
    )
    assert loaded.isdisjoint(others)


@pytest.fixture(scope="module")
def import_server() -> Iterator[subprocess.Popen[str]]:
    """A process that imports each module alone; warnings are errors."""
    command = [sys.executable, "-W", "error", str(ROOT / "tests" / "import_server.py")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        yield server
        server.communicate(timeout=TIMEOUT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the server copies itself")
@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_imported_alone_and_is_light_if_yaml_can_name_it(
    module: str, import_server: subprocess.Popen[str]
) -> None:
    assert import_server.stdin is not None
    assert import_server.stdout is not None
    import_server.stdin.write(f"{module}\n")
    import_server.stdin.flush()
    printed = json.loads(import_server.stdout.readline())
    assert "error" not in printed, printed["error"]
    heavy = [name for name in HEAVY if name in printed["loaded"]]
    assert not (printed["nameable"] and heavy), f"{module} defines {printed['nameable']} and loads {heavy}"


def test_no_modules_import_each_other_also_not_inside_functions() -> None:
    done = python("tools/rooms.py")
    assert "\n0 cycles between parts\n0 cycles between modules\n" in done.stdout, done.stdout[-2000:] + done.stderr


# --- what the files say -------------------------------------------------------------------------------------------

# Written so that they do not find themselves.
MACHINE = re.compile(r"(?<![\w.~:/*])/(?:home|Users|root|work|mnt|opt|srv)/\w|\b[A-Z]:\\Users\\")
INDEX = re.compile(r"py[p]i\.org|python[h]osted|--(?:extra-)?index-ur[l]|--find-link[s]|--trusted-hos[t]")


def tracked() -> list[Path]:
    """What git has, or would have if everything were added."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = (ROOT / name.decode() for name in listed.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file()]


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    result = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        result += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if pattern.search(line)
        ]
    return result


def test_no_file_knows_a_folder_of_one_machine() -> None:
    assert lines_that_match(MACHINE) == []


def test_no_file_names_a_package_index() -> None:
    assert lines_that_match(INDEX) == []


@pytest.mark.parametrize("line", ["cd /home/" + "ada/lab", 'open("/work' + '/x")', "C:\\Users" + "\\ada"])
def test_a_folder_of_one_machine_would_be_found(line: str) -> None:
    assert MACHINE.search(line)


NO_FOLDERS = (("https://example.org", "home/x"), ("a", "work/b"), ("~", "work/x"), ("**", "root/x"))


@pytest.mark.parametrize("line", [f"{start}/{rest}" for start, rest in NO_FOLDERS])
def test_an_address_is_not_taken_for_a_folder(line: str) -> None:
    assert not MACHINE.search(line)


# --- what the pages show ------------------------------------------------------------------------------------------

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S.*?-->\s*\Z")


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The fenced blocks of a language, each with its first line; `<!-- not run: reason -->` above leaves one out."""
    if not page.exists():
        pytest.fail(f"{page.relative_to(ROOT)} is missing")
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, result.start(2)) + 1, result[2])
        for result in FENCE.finditer(text)
        if result[1] == language and not NOT_RUN.search(text[: result.start()])
    ]


def has_goal(text: str) -> bool:
    return re.search(r"^goal:", text, re.MULTILINE) is not None


@pytest.mark.parametrize("page", names(PAGES))
def test_the_python_of_a_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    """A block that begins with `# name.py` is that file, run by pytest if it is a test; the rest is one script."""
    script, files = "", []
    for line, code in blocks(ROOT / page, "python"):
        if named := re.match(r"# (\w+\.py)\n", code):
            files.append(tmp_path / named[1])
            files[-1].write_text(code, encoding="utf-8")
        else:
            script += "\n" * (line - 1 - script.count("\n")) + code  # so that an error names the line of the page
    if (ROOT / "configs").exists():
        shutil.copytree(ROOT / "configs", tmp_path / "configs")
    if script:
        (tmp_path / "page.py").write_text(script, encoding="utf-8")
        done = python("page.py", cwd=tmp_path)
        assert done.returncode == 0, f"{page}:\n{done.stderr}"
    if tests := [file.name for file in files if file.name.startswith("test_")]:
        done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, *tests, cwd=tmp_path)
        assert done.returncode == 0, f"{page}:\n{done.stdout[-3000:]}"


NAMED = re.compile(r"^```\w+\n(# ([\w.]+\.(?:py|toml|yaml))\n.*?)^```$", re.MULTILINE | re.DOTALL)


def install(folder: Path) -> None:
    """What an installer leaves of a package of single modules: its name and its entry points, beside them."""
    message = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project = message["project"]
    modules = message["tool"]["setuptools"]["py-modules"]
    assert all((folder / f"{module}.py").is_file() for module in modules)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    header = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(header, encoding="utf-8")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in result.items()) for group, result in groups]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.slow
def test_one_page_is_enough_to_add_a_solver_and_a_driver(tmp_path: Path) -> None:
    for result in NAMED.finditer((ROOT / "docs/how-to/extending.md").read_text(encoding="utf-8")):
        (tmp_path / result[2]).write_text(result[1], encoding="utf-8")
    sdl = ("-c", "import sys; from sdl.cli import main; sys.exit(main())")
    before = python(*sdl, "validate", "lamp.yaml", cwd=tmp_path)
    assert "unknown kind 'lamp'" in before.stderr
    install(tmp_path)
    contracts = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert contracts.returncode == 0, contracts.stdout[-3000:]
    passed = re.search(r"(\d+) passed", contracts.stdout)
    assert passed
    assert int(passed[1]) > 30
    ran = python(*sdl, "run", "lamp.yaml", "--json", cwd=tmp_path)
    assert json.loads(ran.stdout.splitlines()[-1])["outcome"] == "reached", ran.stderr
    # Broken later, it is named in one line.
    with (tmp_path / "my_solver.py").open("a", encoding="utf-8") as stream:
        stream.write("\n1 / 0\n")
    broken = python(*sdl, "validate", "lamp.yaml", cwd=tmp_path)
    assert broken.returncode == 2
    (line,) = broken.stderr.splitlines()
    assert "kind 'backward' of the package my-lab 0.1, entry point my_solver:Backward cannot be loaded" in line
    assert "ZeroDivisionError: division by zero" in line
    with_debug = {"SDL_LOG": "debug"}
    printed = python(*sdl, "validate", "lamp.yaml", cwd=tmp_path, **with_debug)
    assert "Traceback" in printed.stderr
    assert "my_solver.py" in printed.stderr


@pytest.mark.parametrize("page", names(PAGES))
def test_the_campaigns_of_a_page_are_valid(page: str, tmp_path: Path) -> None:
    from sdl.config import load

    for line, text in blocks(ROOT / page, "yaml"):
        if not re.search(r"^instrument:", text, re.MULTILINE):
            continue  # a part of a campaign, shown to make a point
        path = tmp_path / f"line_{line}.yaml"
        path.write_text(text, encoding="utf-8")
        load(path, collect=not has_goal(text))


@pytest.mark.parametrize("page", names(PAGES))
def test_the_commands_of_a_page_exist(page: str) -> None:
    from sdl.cli.commands import make_app

    verbs = set(typer.main.get_command(make_app()).commands)  # type: ignore[attr-defined]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line, text in [*blocks(ROOT / page, "bash"), *blocks(ROOT / page, "sh")]:
        for verb in re.findall(r"^(?:\$ )?make(?: \w+=\S+)* ([a-z]+)", text, re.MULTILINE):
            assert re.search(rf"^{verb}:", makefile, re.MULTILINE), f"{page}:{line}: no `make {verb}`"
        for verb in re.findall(r"^(?:\$ )?sdl ([a-z]+)", text, re.MULTILINE):
            assert verb in verbs, f"{page}:{line}: no `sdl {verb}`"
        for name in re.findall(r"\bconfigs/[\w.-]+\.yaml", text):
            assert (ROOT / name).exists(), f"{page}:{line}: no {name}"


def test_make_help_lists_every_verb() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    described = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(described) == sorted(phony[1].split())


# --- what configs/ holds ------------------------------------------------------------------------------------------


def test_there_are_configurations_to_run() -> None:
    assert "configs/quickstart.yaml" in names(CONFIGS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "name"),
    [("README.md", "quickstart"), ("docs/tutorial/first-campaign.md", "first")],
    ids=("demo", "tutorial"),
)
def test_a_campaign_ends_as_the_page_shows(page: str, name: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.search(rf"^```text\n({name} on .*?)```", text, re.S | re.M)
    assert shown is not None
    file = ROOT / "configs" / f"{name}.yaml"
    if not file.exists():
        file = tmp_path / f"{name}.yaml"
        file.write_text(blocks(ROOT / page, "yaml")[0][1], encoding="utf-8")
    done = python("-m", "sdl", "run", str(file), "--runs", str(tmp_path))
    lines = [[line for line in text.splitlines() if "record:" not in line] for text in (shown[1], done.stdout)]
    assert lines[0] == lines[1], done.stderr


def test_what_the_code_knows_best_is_in_the_docs_as_it_is() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from docs import pages
    finally:
        sys.path.remove(str(ROOT / "tools"))
    stale = [page.name for page, text in pages().items() if page.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


def test_every_test_of_the_table_of_oracles_exists() -> None:
    page = (ROOT / "docs" / "reference" / "oracles.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 35
    folder = ROOT / "tests" / "models"
    assert [test for file, test in named if f"def {test}(" not in (folder / file).read_text(encoding="utf-8")] == []


@pytest.mark.slow
@pytest.mark.parametrize("config", names(CONFIGS))
def test_a_configuration_is_valid_and_on_the_twin_ends_as_it_says(config: str, tmp_path: Path) -> None:
    """A line `# ends: spent` names the outcome; without one it is reached, or done where there is no goal."""
    from sdl.config import load

    text = (ROOT / config).read_text(encoding="utf-8")
    if not load(ROOT / config, collect=not has_goal(text)).instrument.simulated:
        return
    message = re.search(r"^# ends: (\w+)", text, re.MULTILINE)
    verb, outcome = ("run", "reached") if has_goal(text) else ("collect", "done")
    code = "import sys; from sdl.cli import main; sys.exit(main())"
    done = python("-c", code, verb, config, "--runs", str(tmp_path), "--json")
    assert done.stdout, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["outcome"] == (message[1] if message else outcome), done.stderr
