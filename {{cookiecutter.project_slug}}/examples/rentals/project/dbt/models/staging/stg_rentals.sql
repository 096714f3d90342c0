{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key=['rental_id']
) }}

with

extracted as (
    select * from {{ source('raw', 'rentals') }}
),

final as (
    select
        rental_id,
        rental_date as rented_at,
        title,
        amount,
        return_date as returned_at,
        last_update as updated_at,
        source_sha256
    from extracted
)

select * from final
