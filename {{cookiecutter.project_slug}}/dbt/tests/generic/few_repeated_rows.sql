{#- Months of which more than a share of the rows stand there before, with the same values in every column but `but_for`. -#}
{% test few_repeated_rows(model, share, but_for) %}
    {%- set values = [] -%}
    {%- if execute -%}
        {%- for column in adapter.get_columns_in_relation(model) if column.name not in but_for -%}
            {%- do values.append(column.name) -%}
        {%- endfor -%}
    {%- endif -%}
    with

    kinds as (
        select
            file_month,
            count(*) as copies
        from {{ model }}
        group by {{ (['file_month'] + values) | unique | join(', ') }}
    )

    select
        file_month,
        sum(copies) as row_count,
        sum(copies - 1) as repeated_rows
    from kinds
    group by file_month
    having sum(copies - 1) > {{ share }} * sum(copies)
{% endtest %}
