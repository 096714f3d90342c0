with

rentals as (
    select * from {{ ref('stg_rentals') }}
),

final as (
    select
        title,
        count(*) as rentals,
        count(case when returned_at is null then 1 end) as still_out,
        cast(sum(amount) as decimal(18, 2)) as revenue
    from rentals
    group by title
)

select * from final
