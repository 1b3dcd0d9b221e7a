"""What all commands of `nsor-hub` share: the settings, and the database."""

import asyncio
import sys
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from hub.config import HubSettings
from hub.store.database import PostgresDatabase
from hub.store.keys import key_provider
from hub.store.vault import Vault

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file of settings. NSOR_… in the environment goes before it.")
]


def load_settings(config: Path | None) -> HubSettings:
    """The settings; where they are wrong, says what is, and ends the command with 78."""
    try:
        return HubSettings.load(config)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "NSOR_" + "_".join(str(part) for part in problem["loc"]).upper()
            print(f"{name}: {problem['msg']}", file=sys.stderr)
    except (OSError, tomllib.TOMLDecodeError) as error:
        print(f"{config}: {error}", file=sys.stderr)
    raise typer.Exit(78)


def on_database(settings: HubSettings, work: Callable[[PostgresDatabase], Awaitable[None]]) -> None:
    """Does some work on the hub's database."""

    async def run() -> None:
        register = PostgresDatabase(settings.dsn.get_secret_value(), Vault(key_provider(settings)))
        try:
            await work(register)
        finally:
            await register.close()

    asyncio.run(run())


def must_not_exist(path: Path) -> None:
    """Refuses to write over a file."""
    if path.exists():
        raise typer.BadParameter(f"{path} exists already; nothing was changed")
