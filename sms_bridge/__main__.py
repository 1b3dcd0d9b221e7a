"""The command `nsor-sms-bridge`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from nsor_client import AsyncClient, Credentials, CredentialsError
from sms_bridge import telemetry
from sms_bridge.bridge import Bridge, Settings
from sms_bridge.journal import Journal, JournalError
from sms_bridge.simulator import DeliveryRefused, Smsc, serve_control, text_once
from sms_bridge.smpp.session import SmscConfig

EXIT_FAILED = 1
EXIT_NO_REPLY = 3

_DEFAULTS = Settings()
_FROM_ENVIRONMENT = {"auto_envvar_prefix": "NSOR_SMS"}
_log = logging.getLogger("sms_bridge")

app = typer.Typer(
    help="""The SMS service of the register: people text a CNIC to a shortcode, and get an Urdu reply.

    Exit codes: 0 done (or stopped by SIGTERM or Ctrl-C), 1 failed, 2 wrong usage, 3 no reply came (`text`).
    """,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

PasswordFile = Annotated[
    Path,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="File that holds the SMPP password, up to 8 characters.",
    ),
]
SystemId = Annotated[str, typer.Option(help="SMPP system_id, up to 15 characters.")]
ReadyFile = Annotated[Path | None, typer.Option(help="File to write JSON into when ready.")]


@app.command(context_settings=_FROM_ENVIRONMENT)
def run(
    smsc_host: Annotated[str, typer.Option(help="Host of the operator's SMSC.")],
    system_id: SystemId,
    password_file: PasswordFile,
    node: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder with the cert.pem, key.pem and ca.pem of this node.",
        ),
    ],
    target: Annotated[str, typer.Option(help="Address of the hub, as HOST:PORT.")],
    journal: Annotated[
        Path,
        typer.Option(
            dir_okay=False,
            help="File that keeps the messages in hand; on a disk that survives a restart.",
        ),
    ],
    smsc_port: Annotated[int, typer.Option(help="Its port.")] = 2775,
    tls: Annotated[bool, typer.Option("--tls", help="Speak SMPP over TLS.")] = False,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="CA that the SMSC must prove itself by, instead of the system's. Implies --tls.",
        ),
    ] = None,
    shortcode: Annotated[str, typer.Option(help="The number that people text.")] = _DEFAULTS.shortcode,
    submits_per_second: Annotated[
        float,
        typer.Option(min=0.1, help="The most messages that the operator takes."),
    ] = _DEFAULTS.submits_per_second,
    journal_limit: Annotated[
        int,
        typer.Option(
            min=1,
            help="Segments that the journal may hold; beyond, the SMSC is asked to keep its messages.",
        ),
    ] = 100_000,
    ready_file: ReadyFile = None,
) -> None:
    """Serve the shortcode: bind to the SMSC, ask the hub, reply in Urdu.

    Connections that break are made again for as long as it runs; kill -9 loses no message. SIGTERM and Ctrl-C
    let it finish what is in hand. Logs go to stderr, one JSON object per line, and hold no personal data.
    Traces and metrics are exported where OTEL_EXPORTER_OTLP_ENDPOINT is set.
    """
    _start(ready_file)
    try:
        credentials = Credentials.from_dir(node)
        config = SmscConfig(
            smsc_host,
            smsc_port,
            system_id,
            _read_password(password_file),
            tls=ssl.create_default_context(cafile=tls_ca) if tls or tls_ca else None,
        )
    except (CredentialsError, ValueError, OSError) as error:  # ssl.SSLError is an OSError
        _fail(str(error))
    settings = Settings(shortcode=shortcode, submits_per_second=submits_per_second)

    async def serve() -> None:
        stop = _stop_on_signals()
        try:
            client = AsyncClient(target, credentials, renew=True)
        except ValueError as error:
            _fail(str(error))
        async with client, Journal.open(journal, limit=journal_limit) as opened, asyncio.TaskGroup() as group:
            bridge = Bridge(settings, opened, client)
            running = group.create_task(bridge.run(config, stop))
            bound = group.create_task(bridge.bound.wait())
            await asyncio.wait({running, bound}, return_when=asyncio.FIRST_COMPLETED)
            if bound.done():
                _say_ready(ready_file, {"smsc": f"{smsc_host}:{smsc_port}", "shortcode": shortcode})
            await running
            bound.cancel()

    with telemetry.exported("nsor-sms-bridge"):
        _run(serve())


@app.command(context_settings=_FROM_ENVIRONMENT)
def simulator(
    system_id: SystemId,
    password_file: PasswordFile,
    port: Annotated[int, typer.Option(help="Port for SMPP; 0 takes any that is free.")] = 2775,
    control_port: Annotated[int, typer.Option(help="Port for `text`; 0 takes any that is free.")] = 2776,
    ready_file: ReadyFile = None,
) -> None:
    """Play the operator's SMSC, with as many phones as are asked for, on this machine only.

    Nothing is kept over a restart. Text through it with `nsor-sms-bridge text`.
    """
    _start(ready_file)
    password = _read_password(password_file)

    async def serve() -> None:
        stop = _stop_on_signals()
        async with (
            Smsc.serve(system_id, password, port=port) as smsc,
            serve_control(smsc, control_port) as bound_control_port,
        ):
            _say_ready(ready_file, {"smsc_port": smsc.port, "control_port": bound_control_port})
            await stop.wait()

    _run(serve())


@app.command()
def text(
    message: Annotated[
        str,
        typer.Argument(metavar="TEXT", help="What to text, a CNIC for example. Put -- before a leading dash."),
    ],
    source: Annotated[str, typer.Option("--from", help="Number of the phone, which is made up.")] = "+920000000001",
    shortcode: Annotated[
        str, typer.Option(envvar="NSOR_SMS_SHORTCODE", help="The number that people text.")
    ] = _DEFAULTS.shortcode,
    control: Annotated[
        str, typer.Option(envvar="NSOR_SMS_CONTROL", help="Control port of the simulator, as HOST:PORT.")
    ] = "127.0.0.1:2776",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the reply.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object: reply, segments, seconds.")] = False,
) -> None:
    """Text the service as a phone of the running simulator, and print the reply."""
    host, _, port = control.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter("the control port is given as HOST:PORT", param_hint="--control")
    started_at = time.monotonic()
    try:
        reply = asyncio.run(text_once(host, int(port), source, shortcode, message, timeout))
    except TimeoutError:
        _fail(f"no reply within {timeout:g} s: is the bridge running?", EXIT_NO_REPLY)
    except DeliveryRefused as error:
        _fail(f"{error}", EXIT_NO_REPLY)
    except (OSError, ValueError):
        _fail(f"no simulator answers at {control}")
    if as_json:
        seconds = round(time.monotonic() - started_at, 3)
        result = {"reply": reply.text, "segments": reply.segments, "seconds": seconds}
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        typer.echo(reply.text)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)


def _start(ready_file: Path | None) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if ready_file:
        try:
            ready_file.unlink(missing_ok=True)  # of an earlier run
            ready_file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _fail(f"cannot write {ready_file}: {error.strerror}")


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM or Ctrl-C sets; the second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop


def _read_password(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        _fail(f"cannot read {file}: {type(error).__name__}")


def _say_ready(file: Path | None, facts: dict[str, Any]) -> None:
    """Write the ready file, whole or not at all, and a line to the log."""
    if file:
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        partial.write_text(json.dumps(facts) + "\n")
        partial.replace(file)
    _log.info("ready: %s", json.dumps(facts))


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(main)
    except (JournalError, OSError) as error:
        _fail(str(error))


def _fail(message: str, code: int = EXIT_FAILED) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the command."""
    app()


if __name__ == "__main__":
    main()
