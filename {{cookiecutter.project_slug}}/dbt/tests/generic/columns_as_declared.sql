{#- The table that was built has the columns and types of its yml, in that order. Contracts can't be enforced on Trino. -#}
{% test columns_as_declared(model) %}
    {%- set declared, built = [], [] -%}
    {%- if execute -%}
        {%- set node = graph.nodes.values() | selectattr('name', 'equalto', model.identifier) | first -%}
        {%- for column in node.columns.values() -%}
            {%- do declared.append(column.name ~ ' ' ~ canonical_type(column.data_type or '?')) -%}
        {%- endfor -%}
        {%- for column in adapter.get_columns_in_relation(model) -%}
            {%- do built.append(column.name ~ ' ' ~ canonical_type('varchar' if column.is_string() else column.data_type)) -%}
        {%- endfor -%}
    {%- endif -%}
    select
        '{{ declared | join(', ') }}' as declared,
        '{{ built | join(', ') }}' as built
    where '{{ declared | join(', ') }}' <> '{{ built | join(', ') }}'
{% endtest %}
