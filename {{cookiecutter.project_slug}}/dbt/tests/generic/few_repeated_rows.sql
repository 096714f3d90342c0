{#- Months in which more than a share of the rows repeat an earlier row in all of the columns. -#}
{% test few_repeated_rows(model, columns, share) %}
    with

    kinds as (
        select
            file_month,
            count(*) as copies
        from {{ model }}
        where {{ of_changed_parts(model, 'file_month') }}
        group by file_month, {{ columns | join(', ') }}
    )

    select
        file_month,
        sum(copies) as row_count,
        sum(copies - 1) as repeated_rows
    from kinds
    group by file_month
    having sum(copies - 1) > {{ share }} * sum(copies)
{% endtest %}
