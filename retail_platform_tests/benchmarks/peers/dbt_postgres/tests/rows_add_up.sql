select 1 where (select count(*) from {{ ref('sales') }}) + (select count(*) from {{ ref('rejects') }})
    <> (select count(*) from {{ source('raw', 'sales') }})
