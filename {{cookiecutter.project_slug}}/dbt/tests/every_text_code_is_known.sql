-- Texts of 2009 and 2010 that no seed maps: the id is null then. A warning, for the seeds to be completed.
{{ config(severity='warn') }}

select
    'vendor' as code,
    vendor_name as text_code,
    count(*) as times
from {{ source('raw', 'yellow_trips') }}
where
    vendor_name is not null
    and upper(trim(vendor_name)) not in (select vendor_texts.vendor_text from {{ ref('vendor_texts') }} as vendor_texts)
group by vendor_name

union all

select
    'payment type' as code,
    payment_type_name as text_code,
    count(*) as times
from {{ source('raw', 'yellow_trips') }}
where
    payment_type_name is not null
    and lower(trim(payment_type_name)) not in (
        select payment_type_texts.payment_type_text from {{ ref('payment_type_texts') }} as payment_type_texts
    )
group by payment_type_name
