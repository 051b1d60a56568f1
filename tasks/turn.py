"""Wait for one's turn at what several runs share: a stack's warehouse, and dbt on it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from tasks.errors import ParameterError

WAREHOUSE, DBT = "warehouse", "dbt"
SHARED = (WAREHOUSE, DBT)
"""What a stack's runs take turns at."""

SETTING = "ECOMMERCE_LIMITS"
"""The variable that has a run take turns; a server without any set-up has no limits, and its runs ask for none."""

_LEASE_SECONDS = 90
"""How long the slot of a run that died stays taken: as long as the run takes to count as crashed.

It is the server that ends it, which must keep this time in a file or forget it when it restarts: see flows/server.py.
"""


def limit_name(shared: str, stack: str) -> str:
    """The name of the global concurrency limit of something that a stack's runs share."""
    return f"ecommerce-{shared}-{stack}"


@contextmanager
def turn(stack: str, *shared: str) -> Iterator[None]:
    """Hold a slot of each limit for as long as the block lasts, after waiting for them if others hold them.

    Does nothing unless `ECOMMERCE_LIMITS` is set. Raises `ParameterError` if a limit was never created.
    """
    if not os.environ.get(SETTING):
        yield
        return
    names = [limit_name(one, stack) for one in shared]
    with ExitStack() as held:
        try:
            # A lease lost to a server that was away ends no run: the ledger's transactions keep two loaders apart.
            held.enter_context(
                concurrency(names, strict=True, lease_duration=_LEASE_SECONDS, raise_on_lease_renewal_failure=False)
            )
        except ConcurrencySlotAcquisitionError as error:
            raise ParameterError(
                f"No slot of the limits {', '.join(names)}: create them with python -m flows.setup --stack {stack}, "
                f"or unset {SETTING} ({error})."
            ) from error
        yield
