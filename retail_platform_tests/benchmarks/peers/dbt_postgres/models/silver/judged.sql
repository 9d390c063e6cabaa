with cleaned as (
    select file_rank, source_row, file_name, delivered_at, invoice_no as raw_invoice_no, stock_code as raw_stock_code,
        description as raw_description, quantity as raw_quantity, invoice_date as raw_invoice_date,
        unit_price as raw_unit_price, customer_id as raw_customer_id, country as raw_country,
        {{ trimmed('invoice_no') }} as invoice_no, upper({{ trimmed('stock_code') }}) as stock_code,
        regexp_replace({{ trimmed('description') }}, '[ \t\r\n]{2,}|[\t\r\n]', ' ', 'g') as description,
        case when btrim(customer_id) ~ '^[0-9]+\.0+$' then split_part(btrim(customer_id), '.', 1)
            else {{ trimmed('customer_id') }} end as customer_id,
        {{ trimmed('country') }} as country,
        case when btrim(quantity) ~ '^[+-]?0*[0-9]{1,9}(\.0+)?$' then split_part(btrim(quantity), '.', 1)::integer end as quantity,
        case when btrim(unit_price) ~ '^[+-]?0*([0-9]{1,13}(\.[0-9]*)?|\.[0-9]+)$' then round(btrim(unit_price)::numeric, 4) end as unit_price,
        case when btrim(invoice_date) ~ '^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$' then btrim(invoice_date)::timestamp end as invoiced_at
    from {{ source('raw', 'sales') }}
), dated as (
    select *, case when invoiced_at::date between date '2009-12-01' and (delivered_at + interval '1 day')::date
        then invoiced_at::date end as sale_date
    from cleaned
), typed as (
    select *, (quantity * unit_price)::numeric as line_amount, coalesce(invoice_no like 'C%', false) as is_cancelled,
        case
            when stock_code in ('POST', 'DOT', 'C2', 'C3', '23444') then 'postage'
            when stock_code in ('BANK CHARGES', 'AMAZONFEE', 'CRUK') then 'fee'
            when stock_code = 'D' then 'discount'
            when stock_code = '22016' or stock_code like 'GIFT%' then 'gift_voucher'
            when stock_code in ('M', 'ADJUST', 'ADJUST2') then 'manual'
            when stock_code = 'S' then 'sample'
            when stock_code like 'TEST%' then 'test'
            when stock_code = 'B' then 'other'
            when stock_code in ('SP1002', 'PADS') or stock_code like 'DCGS%' or stock_code ~ '^\d{5}' then 'product'
            else 'other'
        end as line_type
    from dated
), reasoned as (
    select *, case
        when invoice_no is null then 'missing_invoice'
        when stock_code is null then 'missing_stock_code'
        when quantity is null or quantity = 0 then 'invalid_quantity'
        when line_amount is null or abs(line_amount) >= 100000000000000 then 'invalid_price'
        when sale_date is null then 'invalid_date'
        when invoice_no like 'A%' or unit_price < 0 then 'adjustment'
        when unit_price = 0 then 'zero_price'
        when stock_code like 'TEST%' then 'test_line'
        when file_rank < max(file_rank) over (partition by invoice_no, sale_date) then 'superseded'
    end as own_reason
    from typed
)
select *, date_trunc('month', sale_date::timestamp)::date as sale_month,
    case when own_reason is null and row_number() over (
        partition by own_reason, file_rank, invoice_no, stock_code, description, quantity, invoiced_at, unit_price, customer_id, country
        order by source_row
    ) > 1 then 'duplicate_line' else own_reason end as reason
from reasoned
