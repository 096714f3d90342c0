-- The shares of a month's reasons are 1 together; each of at most eight is rounded by half a ten-thousandth.
select
    service_type,
    file_month,
    sum(share) as shares
from {{ ref('fct_monthly_quality') }}
group by service_type, file_month
having abs(sum(share) - 1) > 0.0004
