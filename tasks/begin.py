"""Begin a run: finish a reset that was cut short, settle whose history the lake holds, and plan the days."""

from datetime import date

from prefect import task

from blocks.stack import Stack
from tasks.errors import ParameterError
from tasks.lake import manifests, meta
from tasks.lake.store import Lake
from tasks.plan import Occasion, Run, check_begun, check_history_days, plan_history, plan_increment
from tasks.retry import RETRY
from tasks.shop.shop import Shop
from tasks.turn import WAREHOUSE, turn


@task(task_run_name="begin history through {through}", **RETRY)
def begin_history(occasion: Occasion, shop: Shop, through: date, reset: bool) -> Run:
    """Plan a historical load of `shop` through that day, after an optional reset; a lake keeps the shop it began with.

    Raises `ParameterError` if the days make no sense, if the lake holds another shop, or if `reset` would destroy
    anything but a simulated one.
    """
    check_history_days(occasion, shop.start, through)
    stack = Stack.named(occasion.stack)
    lake = stack.open_lake()
    _reset(stack, lake, occasion.stack, wanted=reset)
    run = plan_history(lake, occasion, shop, through)
    if run.shop is not None:
        stack.open_source().create_tables()
    return run


@task(task_run_name="begin {day}", **RETRY)
def begin_increment(occasion: Occasion, day: date) -> Run:
    """Plan the increment of `day`; `ParameterError` if it is to come, or the lake has no history or that day in it."""
    check_begun(occasion, "day", day)
    stack = Stack.named(occasion.stack)
    lake = stack.open_lake()
    _reset(stack, lake, occasion.stack, wanted=False)
    return plan_increment(lake, occasion, day)


def _reset(stack: Stack, lake: Lake, name: str, wanted: bool) -> None:
    """Delete what the stack holds if that is wanted, or was begun before, in turn; the lake's marker goes last."""
    if wanted and not meta.is_resetting(lake) and not meta.is_empty(lake):
        info = meta.read(lake)
        if info is None or not info.simulated or manifests.holds_real_records(lake):
            raise ParameterError(f"Stack {name!r} holds more than a simulated shop, which reset=True does not delete.")
        meta.begin_reset(lake)
    if meta.is_resetting(lake):
        with turn(name, WAREHOUSE):
            if meta.is_resetting(lake):  # still: another run may have finished it meanwhile, and begun to load
                _clear(stack, lake)


def _clear(stack: Stack, lake: Lake) -> None:
    stack.clear_warehouse()
    stack.open_source().clear()
    meta.finish_reset(lake)
