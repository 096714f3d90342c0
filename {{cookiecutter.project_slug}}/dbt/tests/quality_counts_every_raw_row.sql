-- The sum of trips in fct_monthly_quality is the number of rows in raw, for each service and month.
with

raw_rows as (
    {% for service in var('services') %}
        select
            '{{ service }}' as service_type,
            file_month,
            count(*) as row_count
        from {{ source('raw', service ~ '_trips') }}
        group by file_month
        {% if not loop.last %}
            union all
        {% endif %}
    {% endfor %}
),

counted as (
    select
        service_type,
        file_month,
        sum(trips) as row_count
    from {{ ref('fct_monthly_quality') }}
    group by service_type, file_month
)

select
    coalesce(raw_rows.service_type, counted.service_type) as service_type,
    coalesce(raw_rows.file_month, counted.file_month) as file_month,
    raw_rows.row_count as rows_in_raw,
    counted.row_count as rows_in_quality
from raw_rows
full outer join counted
    on raw_rows.service_type = counted.service_type and raw_rows.file_month = counted.file_month
where raw_rows.row_count is distinct from counted.row_count
