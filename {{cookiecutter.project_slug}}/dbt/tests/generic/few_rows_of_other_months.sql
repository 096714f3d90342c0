{#- Months of which more than a share of the rows were picked up outside of the month. -#}
{% test few_rows_of_other_months(model, share) %}
    select
        file_month,
        count(*) as row_count,
        count(case when rejection_reason = 'pickup_outside_month' then 1 end) as rows_of_other_months
    from {{ model }}
    where {{ of_changed_parts(model, 'file_month') }}
    group by file_month
    having count(case when rejection_reason = 'pickup_outside_month' then 1 end) > {{ share }} * count(*)
{% endtest %}
