"""Write the passwords of compose.yaml's services into `.env`, once; `python -m flows.passwords`."""

import secrets
from pathlib import Path

from dotenv import dotenv_values, set_key

from flows.cli import CONSOLE
from flows.image import ROOT

PASSWORDS = (
    "ECOMMERCE_WRITER_PASSWORD",
    "ECOMMERCE_S3_SECRET_ACCESS_KEY",
    "PGADMIN_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
)


def complete(file: Path) -> list[str]:
    """Add to a file of variables the passwords that it lacks; the names of those added.

    A value that is there stays: databases keep the password that they were made with.
    """
    known = dotenv_values(file)
    added = {name: value for name, value in _generated().items() if not known.get(name)}
    write(file, added)
    return list(added)


def write(file: Path, values: dict[str, str]) -> None:
    """Set variables in a file, which only its owner may read; the others stay."""
    file.touch(mode=0o600)
    for name, value in values.items():
        set_key(file, name, value, quote_mode="never")
    file.chmod(0o600)


def _generated() -> dict[str, str]:
    """32 random bytes each, in letters that need no quotes in a file or an address."""
    return {name: secrets.token_urlsafe(32) for name in PASSWORDS} | {
        "ECOMMERCE_S3_ACCESS_KEY_ID": secrets.token_hex(10)
    }


if __name__ == "__main__":
    CONSOLE.print(f"Added to .env: {', '.join(complete(ROOT / '.env')) or 'nothing, it is complete'}.")
