-- the same of the simulated shop, of which every session is known: there a gap is an
-- error (by the SQL, since dbt fixes severities before it knows the vars)
{{ funnel_gap() }} and {{ is_simulated() }}
