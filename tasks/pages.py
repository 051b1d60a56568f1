"""What a person reads of a run: markdown for Prefect's dashboard, and the shop report as one HTML page."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from html import escape

from tasks.balance import Balance
from tasks.charts import COLOURS, Cell, Chart, change, percent, short
from tasks.dbt import FAILED_STATUSES, NodeResult
from tasks.sales import Sales

_ORDER = (*FAILED_STATUSES, "skipped", "warn")
_DARK = {
    "accent": "#7fb0ff",
    "quiet": "#4a566b",
    "ink": "#e8ecf3",
    "muted": "#a3aebf",
    "rule": "#2b3444",
    "card": "#171d28",
}


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table whose numbers stand at the right.

    >>> print(markdown_table(["table", "rows"], [["orders", 1234]]))
    | table | rows |
    | --- | ---: |
    | orders | 1,234 |
    """
    numbers = [
        bool(rows) and all(isinstance(row[n], int | float | Decimal) for row in rows) for n in range(len(columns))
    ]
    lines = [
        columns,
        ["---:" if number else "---" for number in numbers],
        *([_text(cell) for cell in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    if isinstance(cell, int | Decimal):
        return f"{cell:,}"
    return str(cell).replace("|", "\\|").replace("\n", " ")


def run_markdown(
    title: str, tables: Sequence[Balance], seconds: Mapping[str, float], failures: Mapping[str, str], quarantine: str
) -> str:
    """The report of one ingest run: what failed first, then the balance sheet, the quarantine, and the warnings.

    `seconds` is the time that the run's tasks worked on each table, `failures` why tables stopped before the balance,
    `quarantine` the folder of a table's bad records, with `{table}` in it.
    """
    problems = [f"**{b.table}**: {problem}" for b in tables for problem in b.problems]
    problems += [f"**{table}**: {_text(reason)}" for table, reason in failures.items()]
    warnings = [f"**{b.table}**: {warning}" for b in tables for warning in b.warnings]
    bad = [(b.table, b.quarantined, _place(quarantine.format(table=b.table))) for b in tables if b.quarantined]
    sections = [
        f"# {title}",
        _verdict(tables, problems),
        _list("Failed", problems),
        _section("Balance sheet", _sheet(tables, seconds) if tables else ""),
        _section(
            "Quarantine", markdown_table(("table", "records", "where they lie, with the reasons"), bad) if bad else ""
        ),
        _list("Warnings", warnings),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _verdict(tables: Sequence[Balance], problems: Sequence[str]) -> str:
    source, appended = sum(b.source for b in tables), sum(b.appended for b in tables)
    quarantined = sum(b.quarantined for b in tables)
    end = f"**{len(problems)} problems.**" if problems else "Everything adds up."
    return f"{source:,} records read, {appended:,} of them new, {quarantined:,} quarantined. {end}"


def _sheet(tables: Sequence[Balance], seconds: Mapping[str, float]) -> str:
    columns = ("table", "source", "appended", "known", "quarantined", "batch", "raw", "balance", "seconds")
    rows = [
        (
            *(b.table, b.source, b.appended, b.known, b.quarantined, b.batch_rows, b.raw_rows),
            "differs" if b.problems else "ok",
            round(seconds.get(b.table, 0.0), 2),
        )
        for b in tables
    ]
    note = "source = appended + known + quarantined; batch = raw. Seconds: what the run's tasks worked on the table."
    return f"{markdown_table(columns, rows)}\n\n{note}"


def failure_markdown(flow: str, run: str, undone: Sequence[tuple[str, str, str]], reason: str) -> str:
    """What a failed run left undone: batch, table or model, reason of each, or only the `reason` of the run itself."""
    sections = [
        f"# {flow} {run} failed",
        markdown_table(("batch", "table or model", "what happened, and what to do"), undone)
        if undone
        else _text(reason),
        f"When that is mended, run `{flow}` for `{run}` again: what is there already is known and skipped.",
        "docs/runbook.md says more: late and damaged feeds, the quarantine, rebuilding raw.",
    ]
    return "\n\n".join(sections) + "\n"


def build_markdown(title: str, nodes: Sequence[NodeResult], rows: Mapping[str, int], docs: str | None) -> str:
    """The report of one dbt build: what failed first with its reason, then each model with its tests and rows.

    `rows` are those of each table that the warehouse holds; a view has none. `docs` is where dbt's documentation lies.
    """
    models = [node for node in nodes if node.resource_type == "model"]
    tests = [node for node in nodes if node.resource_type in ("test", "unit_test")]
    passed = sum(node.status == "pass" for node in tests)
    attention = sorted((node for node in nodes if node.status in _ORDER), key=lambda node: _ORDER.index(node.status))
    failed = sum(node.status in FAILED_STATUSES for node in nodes)
    seconds = sum(node.seconds for node in models)
    verdict = (
        f"{len(models)} models in {seconds:.1f} s of work; {passed} of {len(tests)} tests passed; {failed} failed."
    )
    reasons = [(node.status, node.resource_type, node.name, node.message) for node in attention]
    lines = [
        (node.name, node.status, round(node.seconds, 2), _rows(node, rows))
        for node in sorted(models, key=lambda node: (_rank(node), -node.seconds, node.name))
    ]
    sections = [
        f"# {title}",
        verdict,
        _section("Look here first", markdown_table(("status", "type", "name", "reason"), reasons) if reasons else ""),
        _section("Models", markdown_table(("model", "status", "seconds", "rows"), lines) if lines else ""),
        f"Documentation: {_place(docs)}" if docs else "",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _rank(node: NodeResult) -> int:
    return _ORDER.index(node.status) if node.status in _ORDER else len(_ORDER)


def _rows(node: NodeResult, rows: Mapping[str, int]) -> str:
    found = rows.get(node.name, node.rows)
    return "" if found is None else f"{found:,}"


def shop_markdown(sales: Sales, charts: Sequence[Chart], page: str, docs: str | None) -> str:
    """The shop report for the dashboard, its charts within as images."""
    names, values, notes = zip(*headline(sales), strict=True)
    sections = [
        f"# The shop before {sales.as_of}",
        markdown_table(names, [values, notes]),
    ]
    sections += [f"## {chart.finding}\n\n{chart.measure}.\n\n![{_alt(chart)}]({_image(chart)})" for chart in charts]
    sections.append(f"The same as one page, with the numbers as tables: {_place(page)}")
    if docs:
        sections.append(f"What the numbers mean (dbt's documentation): {_place(docs)}")
    return "\n\n".join(sections) + "\n"


def _alt(chart: Chart) -> str:
    return chart.words.replace("[", "(").replace("]", ")")


def _image(chart: Chart) -> str:
    return f"data:image/svg+xml;base64,{b64encode(chart.svg.encode()).decode()}"


def _place(address: str) -> str:
    """A link, where it leads a browser anywhere."""
    return f"[{address}]({address})" if address.startswith(("http://", "https://")) else f"`{address}`"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _list(title: str, lines: Sequence[str]) -> str:
    return _section(title, "\n".join(f"- {line}" for line in lines))


def headline(sales: Sales) -> tuple[tuple[str, str, str], ...]:
    """The four numbers of the report since `sales.since`: name, value, and what became of it in a year."""
    now, before = sales.total, sales.before

    def against(value: Decimal | int, then: Decimal | int | None) -> str:
        """How a number has changed in a year; nothing where there was none."""
        return f"{change(value, then)} than the 365 days before" if then else ""

    funnel = sales.funnel
    return (
        ("gross revenue", short(now.revenue), against(now.revenue, before and before.revenue)),
        ("orders", f"{now.orders:,}", against(now.orders, before and before.orders)),
        ("per order", f"{now.order_value:,.2f}", against(now.order_value, before and before.order_value)),
        ("sessions with an order", percent(funnel.purchases, funnel.sessions), ""),
    )


def shop_html(sales: Sales, charts: Sequence[Chart]) -> str:
    """The shop report as one page that loads nothing: it can be mailed, kept and printed."""
    through = sales.as_of - timedelta(days=1)
    body = "\n".join(map(_figure, charts)) or "<p>There are no orders and no sessions yet.</p>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shop report through {through}</title>
<style>{_css()}</style>
</head>
<body>
<header>
<p class="kicker">Shop report</p>
<h1>{_day(sales.since)} through {_day(through)}</h1>
<dl>{"".join(_tile(*tile) for tile in headline(sales))}</dl>
</header>
<main>
{body}
</main>
<footer>
Gross revenue is the price of what was ordered, without cancelled orders and without shipping. Days are UTC.
Read from the marts as of {sales.as_of}.
</footer>
</body>
</html>
"""


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _tile(name: str, value: str, note: str) -> str:
    said = f'<dd class="note">{escape(note)}</dd>' if note else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd>{said}</div>"


def _figure(chart: Chart) -> str:
    picture = chart.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(chart.words)}" ', 1)
    return f"""<section id="{chart.name}">
<h2>{escape(chart.finding)}</h2>
<p class="measure">{escape(chart.measure)}</p>
<div class="plot">{picture}</div>
<details><summary>The numbers</summary><div class="numbers">{_table(chart)}</div></details>
</section>"""


def _table(chart: Chart) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in chart.columns)
    rows = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in chart.rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"


def _cell(cell: Cell) -> str:
    number = isinstance(cell, int | Decimal)
    return f'<td class="number">{cell:,}</td>' if number else f"<td>{escape(str(cell))}</td>"


def _css() -> str:
    return f":root {{ color-scheme: light dark; --page: #f5f7fa; {_variables(COLOURS)} }}" + (
        f"@media (prefers-color-scheme: dark) {{ :root {{ --page: #0f141c; {_variables(_DARK)} }} }}" + _RULES
    )


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


_RULES = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
.kicker { margin: 0; color: var(--accent); font-weight: 600; }
h1 { margin: 0 0 1.5rem; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.01em; }
h2 { margin: 0; font-size: 1.2rem; line-height: 1.35; }
.measure, footer, .note, dt { color: var(--muted); font-size: 0.875rem; }
.measure { margin: 0.15rem 0 1rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 0 0 1rem; }
dl div, section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
dl div { padding: 0.9rem 1.1rem; }
dd { margin: 0; font-size: 1.6rem; font-weight: 650; line-height: 1.3; }
dd.note { font-weight: 400; line-height: 1.4; }
section { margin: 0 0 1rem; padding: 1.4rem 1.5rem; }
.plot, .numbers { overflow-x: auto; }
.plot svg { display: block; width: 100%; min-width: 38rem; height: auto; }
details { margin-top: 0.8rem; }
summary { cursor: pointer; color: var(--accent); font-size: 0.875rem; }
.numbers { max-height: 24rem; overflow-y: auto; margin-top: 0.6rem; }
table { border-collapse: collapse; font-size: 0.875rem; }
th, td { padding: 0.25rem 1.25rem 0.25rem 0; border-bottom: 1px solid var(--rule); text-align: left; }
th { color: var(--muted); font-weight: 600; }
.number { text-align: right; }
footer { padding-top: 0.5rem; }
@media print { body { padding: 0; background: none; } section { break-inside: avoid; } details { display: none; } }
"""
