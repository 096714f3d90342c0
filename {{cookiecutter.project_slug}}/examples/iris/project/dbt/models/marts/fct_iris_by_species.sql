with

flowers as (
    select * from {{ ref('stg_iris') }}
),

sums as (
    select
        species,
        count(*) as flowers,
        cast(sum(petal_length) as decimal(18, 1)) as petal_length,
        cast(sum(petal_width) as decimal(18, 1)) as petal_width
    from flowers
    group by species
),

final as (
    select
        species,
        flowers,
        {{ ratio('petal_length', 'flowers') }} as avg_petal_length,
        {{ ratio('petal_width', 'flowers') }} as avg_petal_width
    from sums
)

select * from final
