-- every item that was ordered was bought in a session, and nothing else was; a warning
-- because a real shop's tracking may miss a purchase, which must not stop its marts
{{ config(severity="warn") }} {{ funnel_gap() }} and not {{ is_simulated() }}
