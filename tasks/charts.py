"""The charts of the shop report: what the marts say, drawn as SVG whose bytes follow from the numbers alone."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from io import StringIO
from typing import Any

from tasks.sales import Cohort, Month, Sales

COLOURS = {
    "accent": "#1f5fbf",
    "quiet": "#b9c4d4",
    "ink": "#1b2230",
    "muted": "#5b6677",
    "rule": "#e3e7ee",
    "card": "#ffffff",
}
"""CSS variables by which a page gives the charts other colours, and what they are without one."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ACCENT, _QUIET, _INK, _MUTED, _RULE, _CARD = COLOURS.values()
_WIDTH = 11.6  # inches of 72 points: about what the page shows at its own size
_PANELS = 6
_COHORTS = 12
_STRONGEST = 0.6  # opacity of a cell at which the text on it still has a contrast of 4.5
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be found, read aloud and set in the page's own font
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the layout is the same everywhere
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _MUTED,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
}

Cell = str | int | Decimal | date
Draw = Callable[[Any], None]
"""What draws on a matplotlib figure."""


@dataclass(frozen=True)
class Chart:
    """One finding: its sentence, what was measured, the picture, the picture in words, and the numbers in it."""

    name: str
    finding: str
    measure: str
    words: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    svg: str


def draw_charts(sales: Sales) -> tuple[Chart, ...]:
    """Draw every chart for which there are numbers; none for a shop without an order or a session."""
    whole = [month for month in sales.months if sales.is_whole(month.start)]
    charts = []
    if whole and max(month.revenue for month in whole) > 0:
        charts += [_revenue(sales, whole), _categories(sales, whole)]
    if sales.hours:
        charts.append(_hours(sales))
    if sales.funnel.sessions:
        charts.append(_funnel(sales))
    if cohorts := _whole_cohorts(sales):
        charts.append(_retention(cohorts))
    if sales.products and sales.total.revenue:
        charts.append(_products(sales))
    return tuple(charts)


def short(amount: Decimal | float) -> str:
    """An amount in a few characters.

    >>> short(412_345), short(9_999.5), short(1_250_000)
    ('412 k', '10,000', '1.25 M')
    """
    if amount >= 1_000_000:
        return f"{amount / 1_000_000:.2f} M"
    return f"{amount / 1_000:.0f} k" if amount >= 10_000 else f"{amount:,.0f}"


def percent(part: Decimal | int, whole: Decimal | int) -> str:
    """A share in percent, with a digit after the point below ten.

    >>> percent(1, 3), percent(1, 80), percent(0, 0)
    ('33%', '1.2%', '0%')
    """
    share = 100 * part / whole if whole else 0
    return f"{share:.1f}%" if 0 < share < 9.95 else f"{share:.0f}%"


def change(now: Decimal | int, then: Decimal | int) -> str:
    """What became of a number; `then` is not 0.

    >>> change(124, 100), change(50, 100)
    ('24% more', '50% less')
    """
    share = round(100 * (now - then) / then)
    return f"{abs(share)}% {'more' if share >= 0 else 'less'}"


def _revenue(sales: Sales, whole: Sequence[Month]) -> Chart:
    newest, best = whole[-1], max(whole, key=lambda month: month.revenue)

    def draw(figure: Any) -> None:
        """A bar for each month, of which the newest and the best are marked."""
        axes = figure.subplots()
        colours = [_ACCENT if month in (newest, best) else _QUIET for month in whole]
        bars = axes.bar(range(len(whole)), [float(month.revenue) for month in whole], 0.72, color=colours)
        labels = [short(month.revenue) if month in (newest, best) else "" for month in whole]
        axes.bar_label(bars, labels, padding=4, weight="bold")
        _months_below(axes, whole)
        _amounts_beside(axes)

    return Chart(
        "revenue",
        f"{newest.start:%B %Y} brought {short(newest.revenue)}{_than_a_year_before(whole)}",
        "Gross revenue of each whole month, in the shop's currency",
        f"A column for each month; the highest is {best.start:%B %Y} with {short(best.revenue)}.",
        ("month", "orders", "gross revenue"),
        tuple((_named(sales, month.start), month.orders, month.revenue) for month in sales.months),
        _svg("revenue", 3.4, draw),
    )


def _than_a_year_before(whole: Sequence[Month]) -> str:
    newest = whole[-1]
    before = [
        month for month in whole if (month.start.year + 1, month.start.month) == (newest.start.year, newest.start.month)
    ]
    return f", {change(newest.revenue, before[0].revenue)} than a year before" if before and before[0].revenue else ""


def _named(sales: Sales, start: date) -> str:
    return f"{start:%Y-%m}" if sales.is_whole(start) else f"{start:%Y-%m} (before {sales.as_of})"


def _categories(sales: Sales, whole: Sequence[Month]) -> Chart:
    months = [month.start for month in whole]
    lines: dict[str, list[float]] = {}
    for category, start, revenue in sales.categories:
        if start in months:
            lines.setdefault(category, [0.0] * len(months))[months.index(start)] = float(revenue)
    ranked = sorted(lines, key=lambda category: (-sum(lines[category]), category))[:_PANELS]
    shares = {category: percent(int(sum(lines[category])), int(sum(map(sum, lines.values())))) for category in ranked}

    def draw(figure: Any) -> None:
        """A panel for each category, its line before those of the others."""
        columns = min(3, len(ranked))
        panels = figure.subplots(-(-len(ranked) // columns), columns, sharex=True, sharey=True, squeeze=False).flat
        for category, axes in zip(ranked, panels, strict=False):
            for other in ranked:
                axes.plot(lines[other], color=_QUIET, linewidth=0.8)
            axes.plot(lines[category], color=_ACCENT, linewidth=2.2, marker="o" if len(months) == 1 else "")
            axes.set_title(f"{category}, {shares[category]}", loc="left", fontsize=11, color=_INK, weight="bold")
            _months_below(axes, whole, *((12, "%Y") if len(whole) > 12 else (3, "%b %Y")))
            _amounts_beside(axes)
        for axes in panels:  # what is left has no category
            axes.set_visible(False)

    return Chart(
        "categories",
        f"{ranked[0]} leads with {shares[ranked[0]]} of revenue",
        "Gross revenue of each whole month by category, the other categories in grey; share of all whole months",
        "A line for each category: " + ", ".join(f"{category} {share}" for category, share in shares.items()) + ".",
        ("month", "category", "gross revenue"),
        tuple((_named(sales, start), category, revenue) for category, start, revenue in sales.categories),
        _svg("categories", 4.6, draw),
    )


def _hours(sales: Sales) -> Chart:
    orders = {(hour.weekday, hour.hour): hour.orders for hour in sales.hours}
    busiest = max(orders, key=lambda place: (orders[place], place))
    days = [sum(orders.get((weekday, hour), 0) for hour in range(24)) for weekday in range(1, 8)]
    weekend = percent(days[5] + days[6], sum(days))

    def draw(figure: Any) -> None:
        """A cell for each weekday and hour, and the orders of each day beside them."""
        axes = figure.subplots()
        for (weekday, hour), count in orders.items():
            _cell(axes, hour, weekday - 1, count / orders[busiest])
        axes.text(busiest[1], busiest[0] - 1, str(orders[busiest]), ha="center", va="center", weight="bold")
        for weekday, count in enumerate(days):
            axes.text(23.8, weekday, f"{count:,}", ha="left", va="center", color=_MUTED)
        _grid_of_cells(axes, 24, WEEKDAYS)
        axes.set_xticks(range(0, 24, 3), [f"{hour:02}:00" for hour in range(0, 24, 3)])

    return Chart(
        "hours",
        f"{WEEKDAYS[busiest[0] - 1]} at {busiest[1]:02}:00 is the busiest hour; weekends bring {weekend} of orders",
        f"Orders by weekday and hour (UTC) since {sales.since}: the stronger, the more; right: the weekday's",
        "A field for each hour of the week. " + ", ".join(map("{} {:,}".format, WEEKDAYS, days)) + " orders.",
        ("weekday", "hour (UTC)", "orders"),
        tuple((WEEKDAYS[hour.weekday - 1], f"{hour.hour:02}:00", hour.orders) for hour in sales.hours),
        _svg("hours", 3.2, draw),
    )


def _funnel(sales: Sales) -> Chart:
    sessions, _, carts, purchases = counts = sales.funnel
    steps = ("Sessions", "viewed a product", "filled a cart", "placed an order")
    shares = [percent(count, sessions) for count in counts]

    def draw(figure: Any) -> None:
        """A bar for each step, with its share of the sessions."""
        axes = figure.subplots()
        bars = axes.barh(range(4), counts, 0.62, color=[_QUIET, _QUIET, _QUIET, _ACCENT])
        axes.bar_label(bars, [f"{count:,}  ({share})" for count, share in zip(counts, shares, strict=True)], padding=8)
        _names_beside(axes, steps)
        axes.set_xlim(0, sessions * 1.2)

    return Chart(
        "funnel",
        f"{shares[-1]} of sessions end in an order; of the sessions that fill a cart, {percent(purchases, carts)} do",
        f"Sessions since {sales.since} by what they got to, and their share of all sessions",
        "; ".join(f"{step}: {count:,}, {share}" for step, count, share in zip(steps, counts, shares, strict=True))
        + ".",
        ("step", "sessions", "share"),
        tuple(zip(steps, counts, shares, strict=True)),
        _svg("funnel", 2.5, draw),
    )


def _whole_cohorts(sales: Sales) -> dict[date, list[Cohort]]:
    """The newest cohorts and the first months after each, as far as they are over."""
    found: dict[date, list[Cohort]] = {}
    for cohort in sales.cohorts:
        month = cohort.start.month - 1 + cohort.months
        if 0 < cohort.months <= _COHORTS and sales.is_whole(date(cohort.start.year + month // 12, month % 12 + 1, 1)):
            found.setdefault(cohort.start, []).append(cohort)
    return dict(sorted(found.items())[-_COHORTS:])


def _retention(cohorts: dict[date, list[Cohort]]) -> Chart:
    cells = [cohort for row in cohorts.values() for cohort in row]
    most = max(cohort.customers / cohort.size for cohort in cells) or 1
    names = [f"{start:%b %Y} ({row[0].size:,})" for start, row in cohorts.items()]

    def draw(figure: Any) -> None:
        """A cell for each cohort and month, with its share of the cohort."""
        axes = figure.subplots()
        for place, row in enumerate(cohorts.values()):
            for cohort in row:
                _cell(axes, cohort.months - 1, place, cohort.customers / cohort.size / most)
                share = percent(cohort.customers, cohort.size)
                axes.text(cohort.months - 1, place, share, ha="center", va="center", fontsize=10)
        longest = max(map(len, cohorts.values()))
        _grid_of_cells(axes, longest, names)
        axes.set_xticks(range(longest), [f"{n + 1}" for n in range(longest)])
        axes.set_xlabel("months after the first order")

    return Chart(
        "retention",
        _who_came_back(cells),
        "Share of customers who order again, by month of the first order (customers in it) and months since",
        f"A field for each month and month since, from {min(map(_share, cells)):.0%} to {max(map(_share, cells)):.0%}.",
        ("first order", "months since", "customers", "of", "share"),
        tuple((f"{c.start:%Y-%m}", c.months, c.customers, c.size, percent(c.customers, c.size)) for c in cells),
        _svg("retention", 0.9 + 0.34 * len(cohorts), draw),
    )


def _share(cohort: Cohort) -> float:
    return cohort.customers / cohort.size


def _who_came_back(cells: Sequence[Cohort]) -> str:
    def after(months: int) -> str:
        """Share of the cohorts' customers who ordered again that many months after their first order."""
        there = [cell for cell in cells if cell.months == months]
        return percent(sum(cell.customers for cell in there), sum(cell.size for cell in there))

    last = max(cell.months for cell in cells)
    later = f", {after(min(last, 6))} in month {min(last, 6)}" if last > 1 else ""
    return f"{after(1)} of new customers order again in the month after their first order{later}"


def _products(sales: Sales) -> Chart:
    products = sales.products
    sold = sum((product.revenue for product in products), Decimal())

    def draw(figure: Any) -> None:
        """A bar for each product, with its units."""
        axes = figure.subplots()
        revenue = [float(product.revenue) for product in products]
        bars = axes.barh(range(len(products)), revenue, 0.66, color=[_ACCENT, *[_QUIET] * (len(products) - 1)])
        axes.bar_label(bars, [f"{short(p.revenue)}  ({p.units:,} units)" for p in products], padding=8)
        _names_beside(axes, [product.name for product in products])
        axes.set_xlim(0, max(revenue) * 1.25)

    return Chart(
        "products",
        f"The best {len(products)} products bring {percent(sold, sales.total.revenue)} of revenue",
        f"Gross revenue and units sold since {sales.since}, in the shop's currency",
        "; ".join(f"{product.name}: {short(product.revenue)}" for product in products) + ".",
        ("product", "category", "units", "gross revenue"),
        tuple((p.name, p.category, p.units, p.revenue) for p in products),
        _svg("products", 0.6 + 0.32 * len(products), draw),
    )


def _months_below(axes: Any, months: Sequence[Month], every: int = 3, label: str = "%b %Y") -> None:
    places = [place for place, month in enumerate(months) if (month.start.month - 1) % every == 0] or [0]
    axes.set_xticks(places, [months[place].start.strftime(label) for place in places])
    axes.tick_params(axis="x", length=0, pad=6)


def _amounts_beside(axes: Any) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(_few_ticks())
    axes.yaxis.set_major_formatter(lambda amount, _: short(amount))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["left", "right", "top"]].set_visible(False)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _names_beside(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)


def _cell(axes: Any, column: int, row: int, share: float) -> None:
    from matplotlib.patches import Rectangle

    place = (column - 0.47, row - 0.46)
    axes.add_patch(Rectangle(place, 0.94, 0.92, facecolor=_ACCENT, linewidth=0, alpha=round(share * _STRONGEST, 3)))


def _grid_of_cells(axes: Any, columns: int, names: Sequence[str]) -> None:
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _svg(name: str, height: float, draw: Draw) -> str:
    """What `draw` draws, as an SVG element that follows the CSS variables of its page.

    Without them, as in the dashboard, which shows it as an image, it has the colours of COLOURS on a white card.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH, height), layout=_layout(), facecolor=_CARD)
        draw(figure)
        for axes in figure.axes:
            axes.set_facecolor("none")
        stream = StringIO()
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _themed(stream.getvalue())


def _layout() -> Any:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.14)  # inches, so that nothing touches the card's edge


_GROUP_NAME = re.compile(r'(?<=<g) id="[^"]*"')
_FONT = "font-family: 'DejaVu Sans'"


def _themed(svg: str) -> str:
    """Without what only a file needs or would repeat on a page of several, and with CSS variables for the colours."""
    svg = _GROUP_NAME.sub("", svg[svg.index("<svg") :])
    svg = svg.replace(_FONT, "font-family: system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif")
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    return svg
