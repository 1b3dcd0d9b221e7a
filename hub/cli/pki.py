"""`nsor-hub pki`: certificates that the operator makes."""

from pathlib import Path
from typing import Annotated

import typer

from hub.cli.shared import must_not_exist
from hub.clock import utc_now
from hub.pki import CertificateAuthority, write_credentials, write_private

app = typer.Typer(no_args_is_help=True, help="Certificates: a CA, and the hub's own.")


@app.command("init-ca")
def init_ca(
    dir: Annotated[Path, typer.Option(help="Folder for cert.pem and key.pem of the CA.")],
    name: Annotated[str, typer.Option(help="Common name of the CA.")] = "NSOR CA",
    password: Annotated[
        str, typer.Option(envvar="NSOR_CA_PASSWORD", prompt=True, confirmation_prompt=True, hide_input=True)
    ] = "",
) -> None:
    """Makes a CA. Its key is encrypted with the password."""
    must_not_exist(dir / "key.pem")
    ca = CertificateAuthority.create(name, now=utc_now())
    write_private(dir / "key.pem", ca.key_pem(password.encode() or None))
    write_private(dir / "cert.pem", ca.cert_pem)


CaDir = Annotated[Path, typer.Option("--ca", help="Folder of the CA, as `pki init-ca` made it.")]
CaPassword = Annotated[str, typer.Option(envvar="NSOR_CA_PASSWORD", prompt="CA password", hide_input=True)]


@app.command("issue-hub")
def issue_hub(
    ca: CaDir,
    out: Annotated[Path, typer.Option(help="Folder for cert.pem, key.pem and ca.pem.")],
    dns: Annotated[list[str], typer.Option(help="DNS name by which callers reach the hub; repeatable.")] = [],  # noqa: B006
    ip: Annotated[list[str], typer.Option(help="IP address by which callers reach the hub; repeatable.")] = [],  # noqa: B006
    trust_domain: str = "nsor.internal",
    password: CaPassword = "",
) -> None:
    """Issues the hub's own certificate."""
    authority = _load_ca(ca, password)
    write_credentials(out, authority.issue_server(trust_domain, dns, ip, now=utc_now()), authority.cert_pem)


def _load_ca(dir: Path, password: str) -> CertificateAuthority:
    try:
        return CertificateAuthority.load(
            (dir / "cert.pem").read_bytes(), (dir / "key.pem").read_bytes(), password.encode() or None
        )
    except (OSError, ValueError, TypeError) as error:
        raise typer.BadParameter(f"no CA in {dir}, or a wrong password ({type(error).__name__})") from None
