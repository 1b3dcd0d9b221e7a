"""Shows the register doing its job over real PostgreSQL, mutual TLS and SMPP: `make demo`, or `make up` to stay."""

import asyncio
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.table import Table

from demo.people import cnic, offenders
from demo.processes import Processes
from hub.pki import CertificateAuthority
from nsor.common.v1.officer_pb2 import OfficerContext, Purpose
from nsor.lookup.v1.lookup_service_pb2 import CheckCnicRequest
from nsor.lookup.v1.lookup_service_pb2_grpc import LookupServiceStub
from nsor.registry.v1.offender_pb2 import Finality, Offender
from nsor_client import Client, Credentials, NsorError
from nsor_client.rows import write_csv
from sms_bridge.simulator import Reply, text_once

_ROWS = 1000
_NOBODY = cnic(77_000_000_000)
_URDU_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_PHONE = "+920000000001"
_TIMEOUT = 20
_FRESHNESS_BOUND = 5

console = Console(highlight=False)


class Failure(Exception):
    """The register did not do what it should."""


@dataclass
class Demo:
    """One run: what is running, and what happened."""

    folder: Path
    processes: Processes
    results: list[tuple[str, str]] = field(default_factory=lambda: [])
    target: str = ""
    nodes: Path = Path()
    control_port: int = 0

    def client(self, node: str) -> Client:
        return Client(self.target, Credentials.from_dir(self.nodes / node))

    def note(self, what: str, result: str) -> None:
        self.results.append((what, result))

    def start_hub(self, listen: str) -> None:
        _step(1, "A hub: PostgreSQL, a CA, ten nodes, two workers on one port, mutual TLS")
        began = time.monotonic()
        ready = self.processes.start("hub", "hub", "dev", "--dir", str(self.folder / "hub"), "--listen", listen)
        self.target, self.nodes = ready["target"], Path(ready["nodes_dir"])
        with self.client("npb") as npb:
            nodes = [node.name.removeprefix("nodes/") for node in npb.list_nodes()]
        console.print(f"   serves at {self.target}; enrolled: {', '.join(nodes)}")
        self.note("hub and database started", f"{time.monotonic() - began:.1f} s")

    def import_convictions(self) -> None:
        _step(2, "Punjab and Sindh police each import a file of convictions")
        for seed, (node, province) in enumerate([("punjab-police", "Punjab"), ("sindh-police", "Sindh")]):
            file = self.folder / f"{node}.csv"
            with file.open("w", encoding="utf-8", newline="") as out:
                write_csv(offenders(_ROWS, province=province, seed=seed, first=seed * _ROWS), out)
            began = time.monotonic()
            self._nsor(node, "import", str(file), "--result", str(self.folder / f"{node}-result.csv"))
            results = (self.folder / f"{node}-result.csv").read_text().splitlines()[1:]
            entered = sum("offenders/" in line for line in results)
            _expect(entered == _ROWS, f"{node}: {entered} of {_ROWS} rows were entered")
            console.print(f"   result of the first row: {results[0]}", soft_wrap=True)
            self.note(f"{node} imported {_ROWS} rows", f"{time.monotonic() - began:.1f} s, each with a result")

    def start_sms(self, smsc_port: int, control_port: int) -> None:
        _step(3, "An operator's SMSC (simulated) and the SMS bridge, over SMPP 3.4")
        password = self.folder / "smpp-password"
        password.write_text(secrets.token_hex(4))
        who = ["--system-id", "nsor7000", "--password-file", str(password)]
        ports = ["--port", str(smsc_port), "--control-port", str(control_port)]
        smsc = self.processes.start("smsc", "sms_bridge", "simulator", *who, *ports)
        self.control_port = smsc["control_port"]
        hub = ["--node", str(self.nodes / "sms-7000"), "--target", self.target]
        self.processes.start(
            "bridge", "sms_bridge", "run", *who, *hub, "--smsc-host", "127.0.0.1",
            "--smsc-port", str(smsc["smsc_port"]), "--journal", str(self.folder / "journal.sqlite"),
        )  # fmt: skip
        console.print("   bound; a phone may text 7000")

    def text_from_phone(self) -> None:
        _step(4, "A phone texts 7000")
        convict = next(
            o
            for o in offenders(_ROWS, province="Punjab", seed=0)
            if o.convictions[0].finality == Finality.FINALITY_FINAL
        )
        number, person = convict.person.cnic, convict.person
        for what, text, expected in (
            ("a convict's number", number, person.full_name_ur),
            ("the same in Urdu digits", number.translate(_URDU_DIGITS), person.full_name_ur),
            ("a number not on the register", _NOBODY, "کوئی اندراج نہیں"),
            ("a text that is no number", "السلام علیکم", "شناختی"),
        ):
            began = time.monotonic()
            reply = self._text(text)
            seconds = time.monotonic() - began
            console.print(f"   [bold]{what}[/]: {text}\n     → {reply.text}  [dim]({reply.segments} SMS)[/]")
            _expect(expected in reply.text, f"the reply to {what} is not the one expected")
            self.note(f"SMS: {what}", f"{reply.segments} segments, {seconds * 1000:.0f} ms")

    def follow_the_feed(self) -> None:
        _step(5, "Sindh follows the change feed while Punjab registers one more conviction")
        arrived: Queue[Offender | None] = Queue()
        watcher = threading.Thread(target=self._watch, args=(arrived.put,), daemon=True)
        watcher.start()
        _expect(arrived.get(timeout=_TIMEOUT) is None, "the stream does not begin with a bookmark")
        with self.client("punjab-police") as punjab:
            [offender] = offenders(1, province="Punjab", seed=9, first=9_000)
            offender.convictions[0].finality = Finality.FINALITY_FINAL
            created = punjab.create_offender(offender).offender
            committed = time.monotonic()
        change = arrived.get(timeout=_TIMEOUT)
        fed = time.monotonic() - committed
        _expect(change is not None and change.name == created.name, "the feed brought something else")
        console.print(f"   Sindh's screen: [bold]{created.name}[/], {created.district}, owner {created.owner}")
        reply = self._text(offender.person.cnic)
        # Each worker follows the feed by itself: an answer may be as old as the freshness bound, and says how old.
        while offender.person.full_name_ur not in reply.text and time.monotonic() < committed + _FRESHNESS_BOUND:
            reply = self._text(offender.person.cnic)
        answered = time.monotonic() - committed
        _expect(offender.person.full_name_ur in reply.text, "the next SMS was not a hit")
        console.print(f"   the next SMS: {reply.text}")
        console.print(f"   from commit to Sindh's screen {fed * 1000:.0f} ms, to the SMS hit {answered * 1000:.0f} ms")
        self.note("commit to feed", f"{fed * 1000:.0f} ms")
        self.note("commit to SMS hit", f"{answered * 1000:.0f} ms")

    def refuse_strangers(self) -> None:
        _step(6, "Who is refused")
        good = Credentials.from_dir(self.nodes / "punjab-police")
        now = datetime.now(UTC)
        other = CertificateAuthority.create("somebody else's CA", now=now).issue_node("nsor.internal", "npb", now=now)
        number = cnic(0)
        with Client(self.target, Credentials(other.cert_pem, other.key_pem, good.ca_pem)) as stranger:
            self._refused("a certificate of another CA", lambda: stranger.check_cnic(number))
        # By plain gRPC, since the SDK does not begin without a certificate.
        with grpc.secure_channel(self.target, grpc.ssl_channel_credentials(good.ca_pem)) as nobody:
            check = LookupServiceStub(nobody).CheckCnic
            self._refused(
                "no certificate (the hub ends the TLS handshake)",
                lambda: check(CheckCnicRequest(cnic=number), timeout=_TIMEOUT),
            )
        officer = OfficerContext(officer_id="demo", purpose=Purpose.PURPOSE_VETTING)
        with self.client("sed-punjab") as school:
            self._refused(
                "an RPC that is not its own (a school department lists offenders)",
                lambda: list(school.list_offenders(officer)),
            )

    def summary(self) -> None:
        table = Table("what", "result", title="What happened")
        for what, result in self.results:
            table.add_row(what, result)
        console.print(table)

    def _watch(self, put: Callable[[Offender | None], None]) -> None:
        """Follows the feed as Sindh until a record arrives: puts None for the first bookmark, then the record."""
        with self.client("sindh-police") as sindh:
            for number, response in enumerate(sindh.watch_changes()):
                if number == 0:
                    put(None)
                for event in response.events:
                    put(event.changes[0].offender)
                    return

    def _refused(self, what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except (NsorError, grpc.RpcError) as error:
            code: grpc.StatusCode = error.code if isinstance(error, NsorError) else error.code()  # type: ignore[attr-defined]
            reason = str(error) if isinstance(error, NsorError) else error.details()  # type: ignore[attr-defined]
            console.print(f"   [bold]{what}[/]: {reason}", soft_wrap=True)
            self.note(f"refused: {what}", code.name)
        else:
            raise Failure(f"{what} was not refused")

    def _text(self, text: str) -> Reply:
        return asyncio.run(text_once("127.0.0.1", self.control_port, _PHONE, "7000", text, _TIMEOUT))

    def _nsor(self, node: str, *arguments: str) -> None:
        nsor = Path(sys.executable).parent / "nsor"
        command = [str(nsor), "--node", str(self.nodes / node), "--target", self.target, *arguments]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _step(number: int, what: str) -> None:
    console.print(f"\n[bold cyan]{number}. {what}[/]")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Failure(otherwise)


def _explain(demo: Demo) -> None:
    python = Path(sys.executable).parent
    nsor = f"{python}/nsor --target {demo.target} --node {demo.nodes}"
    console.print("\n[bold]It stays up. In another terminal:[/]")
    for command in (
        f"{python}/nsor-sms-bridge text {cnic(0)} --control 127.0.0.1:{demo.control_port}",
        f"{nsor}/sed-punjab check {cnic(0)}",
        f"{nsor}/punjab-police offender list",
        f"{nsor}/sindh-police watch",
        f"{nsor}/npb node list",
    ):
        console.print(f"  {command}", soft_wrap=True)
    console.print("\nCtrl-C stops everything.")


def main(
    stay: Annotated[bool, typer.Option("--stay", help="Stay up until Ctrl-C, and print commands to try.")] = False,
) -> None:
    """Shows the register at work, from end to end. Exits 1 if anything is not as it should be."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="nsor-demo-") as name, Processes(Path(name)) as processes:
            demo = Demo(Path(name), processes)
            demo.start_hub("127.0.0.1:7443" if stay else "127.0.0.1:0")
            demo.import_convictions()
            demo.start_sms(*((2775, 2776) if stay else (0, 0)))
            demo.text_from_phone()
            demo.follow_the_feed()
            demo.refuse_strangers()
            demo.note("all of it", f"{time.monotonic() - began:.0f} s")
            console.print()
            demo.summary()
            if stay:
                _explain(demo)
                threading.Event().wait()
    except KeyboardInterrupt:
        console.print("\nstopped")
    except (Failure, RuntimeError, NsorError, subprocess.CalledProcessError) as error:
        console.print(f"[bold red]the demonstration failed:[/] {error}")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
