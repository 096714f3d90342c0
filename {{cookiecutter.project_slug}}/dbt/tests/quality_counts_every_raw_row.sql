-- The sum of trips in fct_monthly_quality is the number of rows in raw, for each service and month.
with

raw_rows as (
    select
        'yellow' as service_type,
        file_month,
        count(*) as row_count
    from {{ source('raw', 'yellow_trips') }}
    group by file_month

    union all

    select
        'green' as service_type,
        file_month,
        count(*) as row_count
    from {{ source('raw', 'green_trips') }}
    group by file_month
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
