"""`nsor-hub keyring`: the keys that seal personal data."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hub.cli.shared import ConfigFile, load_settings, must_not_exist, on_database
from hub.config import HubSettings
from hub.pki import write_private
from hub.store.database import PostgresDatabase
from hub.store.keys import key_provider, keys_in_use
from hub.store.vault import Keyring

app = typer.Typer(no_args_is_help=True, help="The keys that seal personal data, and their change.")

# Workers read the file every 5 seconds, and no transaction that writes lasts longer than 12.
_SETTLED_SECONDS = 20

KeyringFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
KeyVersion = Annotated[int, typer.Argument(metavar="KEY", help="Its number, see `keyring status`.")]


@app.command()
def create(file: Annotated[Path, typer.Argument(help="File to make; it must not exist yet.")]) -> None:
    """Makes the keys that seal personal data. Who loses the file loses the register: keep copies in two safes."""
    must_not_exist(file)
    write_private(file, Keyring.generate().dump().encode())


@app.command()
def add(file: KeyringFile) -> None:
    """Adds a wrapping key, which is not in use yet, and prints its number.

    Bring the file to every machine of the hub, and a copy to each safe, before you take it into use.
    """
    keyring = Keyring.load(file.read_text()).with_new_key()
    write_private(file, keyring.dump().encode())
    print(max(keyring.wrapping))


@app.command()
def use(file: KeyringFile, key: KeyVersion) -> None:
    """Takes a key into use: hubs that read the file seal with it within seconds, and wrap older records anew."""
    write_private(file, Keyring.load(file.read_text()).using(key).dump().encode())


@app.command()
def status(config: ConfigFile = None) -> None:
    """Shows the wrapping keys, and how many records stand under each."""
    settings = load_settings(config)
    keyring, used = key_provider(settings)(), _used(settings)
    table = Table("key", "records", "")
    for version in sorted({*keyring.wrapping, *used}):
        note = "in use" if version == keyring.version else "" if version in keyring.wrapping else "MISSING"
        table.add_row(str(version), f"{used.get(version, 0):,}", note)
    Console().print(table)


@app.command()
def remove(file: KeyringFile, key: KeyVersion, config: ConfigFile = None) -> None:
    """Removes a wrapping key under which no record stands any more. Backups from before need it: keep an old copy.

    Waits until 20 seconds after the last change of the file.
    """
    keyring = Keyring.load(file.read_text()).without(key)
    # Or a worker that does not know of that change yet seals another record with the key, once they were counted.
    time.sleep(max(0.0, file.stat().st_mtime + _SETTLED_SECONDS - time.time()))
    if records := _used(load_settings(config)).get(key):
        raise typer.BadParameter(f"{records:,} records stand under key {key}")
    write_private(file, keyring.dump().encode())


def _used(settings: HubSettings) -> Mapping[int, int]:
    used: dict[int, int] = {}

    async def count(register: PostgresDatabase) -> None:
        used.update(await keys_in_use(register))

    on_database(settings, count)
    return used
