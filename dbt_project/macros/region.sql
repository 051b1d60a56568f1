{# The region of the United States, after its Census Bureau, that a state lies in, however it is spelled; Other outside. #}
{% macro region(state) -%}
    {%- set regions = {
        "Northeast": [
            "Connecticut",
            "Maine",
            "Massachusetts",
            "New Hampshire",
            "New Jersey",
            "New York",
            "Pennsylvania",
            "Rhode Island",
            "Vermont",
        ],
        "Midwest": [
            "Illinois",
            "Indiana",
            "Iowa",
            "Kansas",
            "Michigan",
            "Minnesota",
            "Missouri",
            "Nebraska",
            "North Dakota",
            "Ohio",
            "South Dakota",
            "Wisconsin",
        ],
        "South": [
            "Alabama",
            "Arkansas",
            "Delaware",
            "District of Columbia",
            "Florida",
            "Georgia",
            "Kentucky",
            "Louisiana",
            "Maryland",
            "Mississippi",
            "North Carolina",
            "Oklahoma",
            "South Carolina",
            "Tennessee",
            "Texas",
            "Virginia",
            "West Virginia",
        ],
        "West": [
            "Alaska",
            "Arizona",
            "California",
            "Colorado",
            "Hawaii",
            "Idaho",
            "Montana",
            "Nevada",
            "New Mexico",
            "Oregon",
            "Utah",
            "Washington",
            "Wyoming",
        ],
    } -%}
    case
        {%- for name, states in regions.items() %}
            when lower(trim({{ state }})) in ('{{ states | join("', '") | lower }}')
            then '{{ name }}'
        {%- endfor %}
        else 'Other'
    end
{%- endmacro %}
