with

sales as (
    select * from {{ ref('stg_sales') }}
),

final as (
    select
        file_date as sold_on,
        count(*) as orders,
        cast(sum(pieces) as bigint) as pieces,
        cast(sum(net_price * pieces) as decimal(18, 2)) as revenue
    from sales
    group by file_date
)

select * from final
