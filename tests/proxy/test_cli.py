"""The command `understudy` as a user types it: what it prints and how it exits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ask import understudy
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """\
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends:
  stable: {endpoints: [URL], version: "7"}
  canary: {endpoints: [URL], version: "8"}
routes:
  - name: iris
    match: {path_prefix: /v2/models/iris, headers: {x-employee: "true"}}
    backend: canary
    filters: [{type: headers, request: {set: {x-key: {file: ./key}}}}]
  - {name: all, match: {path_prefix: /v2}, backend: stable}
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[HeldBackend]:
    with held_backend() as each:
        yield each


@pytest.fixture(scope="module")
def program(backend: HeldBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "key").write_text("hush")
    with running(CONFIG.replace("URL", backend.url), folder) as each:
        yield each


@pytest.fixture
def folder(tmp_path: Path, backend: HeldBackend) -> Path:
    (tmp_path / "u.yaml").write_text(CONFIG.replace("URL", backend.url))
    (tmp_path / "key").write_text("hush")
    return tmp_path


def test_validate_says_one_line_and_0(folder: Path) -> None:
    done = understudy("validate", "-c", "u.yaml", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("u.yaml: valid: 1 listener, 2 backends, 2 routes, hash ")
    assert done.stdout.count("\n") == 1


def test_validate_says_every_mistake_with_its_line_and_1(folder: Path) -> None:
    text = CONFIG.replace("backend: canary", "backend: canaries").replace("bind: 127.0.0.1:0}}", "bind: nowhere}}")
    (folder / "bad.yaml").write_text(text)
    done = understudy("validate", "-c", "bad.yaml", folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert any(line.startswith("bad.yaml:1: listeners.ingress.bind: ") for line in lines)
    assert any(line.startswith("bad.yaml:9: routes[0].backend: ") for line in lines)


def test_what_is_not_active_yet_is_said_by_validate_and_run(folder: Path) -> None:
    text = (folder / "u.yaml").read_text() + "stores: {ledger: memory://}\n"
    (folder / "u.yaml").write_text(text)
    done = understudy("validate", "-c", "u.yaml", folder=folder)
    assert done.returncode == 0
    assert "u.yaml:12: stores.ledger: not active yet" in done.stderr
    with running(text, folder) as program:
        assert "stores.ledger: not active yet" in program.stderr


def test_run_refuses_a_broken_file_with_1(folder: Path) -> None:
    (folder / "bad.yaml").write_text("routes: []\n")
    done = understudy("run", "-c", "bad.yaml", folder=folder)
    assert done.returncode == 1
    assert "bad.yaml:1: " in done.stderr
    assert "Traceback" not in done.stderr
    assert understudy("run", "-c", "absent.yaml", folder=folder).stderr == (
        "absent.yaml: cannot be read: No such file or directory\n"
    )


def test_explain_says_the_route_the_backend_and_why(folder: Path) -> None:
    words = ("explain", "-c", "u.yaml", "POST", "/v2/models/iris/infer")
    done = understudy(*words, "-H", "X-Employee: true", folder=folder)
    assert done.returncode == 0
    assert "route iris" in done.stdout
    assert "backend canary version 8" in done.stdout
    done = understudy(*words, folder=folder)
    assert "not iris: header x-employee is absent" in done.stdout
    assert "backend stable version 7" in done.stdout
    shown = json.loads(understudy(*words, "--json", folder=folder).stdout)
    assert (shown["route"], shown["call"]["backend"], shown["passed_over"][0]["route"]) == ("all", "stable", "iris")


def test_explain_says_when_no_route_takes_it_and_when_the_question_is_wrong(folder: Path) -> None:
    done = understudy("explain", "-c", "u.yaml", "GET", "/nowhere", folder=folder)
    assert (done.returncode, "404" in done.stdout) == (1, True)
    done = understudy("explain", "-c", "u.yaml", "GET", "/", "-H", "nonsense", folder=folder)
    assert (done.returncode, done.stderr) == (1, "understudy: 'nonsense' is no header; write -H 'name: value'\n")


def test_explain_by_what_runs_now_needs_no_secret(program: Program, tmp_path: Path) -> None:
    words = (
        "explain",
        "--running",
        "--admin",
        program.url("admin"),
        "GET",
        "/v2/models/iris",
        "-H",
        "x-employee: true",
    )
    done = understudy(*words, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "backend canary version 8" in done.stdout


def test_status_shows_the_screen_and_exits_0_when_healthy(program: Program, tmp_path: Path) -> None:
    done = understudy("status", "--admin", program.url("admin"), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first.startswith("understudy 0.1.0  pod ")
    assert "  workers 1/1  ready  config " in first
    assert first.endswith("  rejected: none")
    assert " ".join(rest[0].split()) == (
        "ROUTE BACKEND VER ROLE WANT% GOT% REQ/S INFL/MAX 5XX% TTFB p50/p99 TOTAL p50/p99 UP"
    )
    assert rest[-1] == "WARN  none"


def test_status_as_json_is_that_of_the_api(program: Program, tmp_path: Path) -> None:
    done = understudy("status", "--json", "--admin", program.url("admin"), folder=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema"] == "understudy.status/1"


def test_status_watches_until_sigint_and_outlasts_the_program(folder: Path) -> None:
    with running((folder / "u.yaml").read_text(), folder) as program:
        command = [sys.executable, "-m", "understudy.proxy.cli", "status", "--watch", "--json", "--admin"]
        watch = subprocess.Popen(
            [*command, program.url("admin")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with watch:
            assert watch.stdout is not None
            assert watch.stderr is not None
            for _ in range(2):
                assert json.loads(watch.stdout.readline())["state"] == "ready"
            assert program.stop() == 0
            assert watch.stderr.readline().startswith("understudy: no program answers at ")
            watch.send_signal(signal.SIGINT)
            assert watch.wait(10) == 2
            assert "Traceback" not in watch.stderr.read()


def test_status_exits_2_when_nobody_is_there(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1", f"unix:{tmp_path}/none", "nonsense://"):
        done = understudy("status", "--admin", url, folder=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("understudy: ")
        assert "Traceback" not in done.stderr


def test_status_exits_2_when_somebody_else_is_there(backend: HeldBackend, tmp_path: Path) -> None:
    done = understudy("status", "--admin", backend.url, folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "understudy: that is no admin API of understudy: it answered 200\n")


def test_status_says_why_the_admin_api_refused(program: Program, tmp_path: Path) -> None:
    short = program.url("admin").replace("127.0.0.1", "127.1")  # to the resolver an address, but no IP literal
    done = understudy("status", "--admin", short, folder=tmp_path)
    assert (done.returncode, done.stderr) == (
        2, "understudy: 403: the Host is no IP literal, localhost or a name in admin.hosts\n"
    )  # fmt: skip


def test_a_file_with_mistakes_sends_no_command_to_another_program(
    program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_ADMIN", program.url("admin"))
    (folder / "bad.yaml").write_text((folder / "u.yaml").read_text().replace("backend: stable", "backend: stabel"))
    for command in ("drain", "reload", "status"):
        done = understudy(command, "-c", "bad.yaml", folder=folder)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("bad.yaml:11: routes[1].backend: ")
        done = understudy(command, "-c", "absent.yaml", folder=folder)
        assert (done.returncode, done.stderr) == (1, "absent.yaml: cannot be read: No such file or directory\n")
    assert understudy("status", "--admin", program.url("admin"), folder=folder).returncode == 0


def test_status_while_draining_exits_1(backend: HeldBackend, folder: Path) -> None:
    text = (folder / "u.yaml").read_text() + "drain: {delay: 60s}\n"
    with running(text, folder) as program:
        assert understudy("drain", "--admin", program.url("admin"), folder=folder).returncode == 0
        program.wait_line("draining (POST /drain")
        done = understudy("status", "--admin", program.url("admin"), folder=folder)
        assert (done.returncode, "  draining  " in done.stdout) == (1, True)
        program.process.kill()
        program.process.wait()


def test_an_admin_api_on_a_unix_socket_is_asked_through_the_file(folder: Path) -> None:
    text = (folder / "u.yaml").read_text().replace("admin: {bind: 127.0.0.1:0}", f"admin: {{bind: 'unix:{folder}/a'}}")
    with running(text, folder):
        done = understudy("status", "-c", "understudy.yaml", folder=folder)
        assert (done.returncode, done.stderr) == (0, "")


def test_commands_that_only_ask_import_nothing_fat(program: Program, tmp_path: Path) -> None:
    code = (
        "import sys; from understudy.proxy import cli; sys.argv[1:] = ['status', '--admin', %r]\n"
        "try: cli.main()\n"
        "except SystemExit: print(sorted({'aiohttp', 'yaml', 'uvloop', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code % program.url("admin")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
