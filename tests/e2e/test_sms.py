"""A citizen's SMS, through an operator's SMSC that is not ours, the bridge and the hub, and back."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsor.registry.v1.offender_pb2 import SEX_FEMALE, Finality
from tests.support.hub import RunningHub
from tests.support.npm import UCS_2, NpmSmsc, needs_npm
from tests.support.people import fresh_cnic, fresh_offender

pytestmark = needs_npm

URDU_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")


@contextmanager
def bridge(hub: RunningHub, port: int, folder: Path) -> Iterator[None]:
    """The bridge as an operator runs it, bound to an SMSC."""
    password = folder / "password"
    password.write_text("secret")
    environment = {
        "NSOR_SMS_SMSC_HOST": "127.0.0.1",
        "NSOR_SMS_SMSC_PORT": str(port),
        "NSOR_SMS_SYSTEM_ID": "sms-7000",
        "NSOR_SMS_PASSWORD_FILE": str(password),
        "NSOR_SMS_NODE": str(hub.folder / "nodes" / "sms-7000"),
        "NSOR_SMS_TARGET": hub.target,
        "NSOR_SMS_JOURNAL": str(folder / "journal.sqlite"),
    }
    command = [Path(sys.executable).parent / "nsor-sms-bridge", "run"]
    with (folder / "bridge.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | environment, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (folder / "bridge.log").read_text()


async def test_a_number_in_urdu_digits_gets_its_answer_in_urdu(hub: RunningHub, smsc: NpmSmsc, tmp_path: Path) -> None:
    convict = fresh_offender(sex=SEX_FEMALE)
    convict.convictions[0].finality = Finality.FINALITY_FINAL
    with hub.client("punjab-police") as punjab:
        created = punjab.create_offender(convict)
        punjab.check_cnic(convict.person.cnic, at_least_revision=created.revision)
    port = (await smsc.event())["port"]
    with bridge(hub, port, tmp_path):
        assert (await smsc.event())["event"] == "bound"
        for cnic, expected in (
            (convict.person.cnic, "سزا یافتہ مجرم ہے۔ اسے بچوں اور عورتوں کے قریب نہ آنے دیں۔"),
            (fresh_cnic(), "کوئی اندراج نہیں"),
        ):
            smsc.deliver(data_coding=UCS_2, message=cnic.translate(URDU_DIGITS))
            events = [await smsc.event(), await smsc.event()]
            [reply] = [event for event in events if event["event"] == "text"]
            assert {"event": "deliver_sm_resp", "status": 0} in events
            assert expected in reply["text"]
            assert (reply["data_coding"], reply["source"]) == (UCS_2, "7000")
    assert await smsc.event() == {"event": "unbound"}
    # The journal forgets what was answered, and the log never knew it.
    log = (tmp_path / "bridge.log").read_text()
    assert convict.person.full_name_ur not in log
    assert convict.person.cnic not in log
