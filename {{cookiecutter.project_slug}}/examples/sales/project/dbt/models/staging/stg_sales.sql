{{ config(partition_by='file_date') }}

with

published as (
    select * from {{ source('raw', 'sales') }}
),

final as (
    select
        file_date,
        file_row,
        source_sha256,
        nullif(trim(order_no), '') as order_no,
        sold_at,
        nullif(trim(item), '') as item,
        net_price,
        pieces
    from published
)

select * from final
