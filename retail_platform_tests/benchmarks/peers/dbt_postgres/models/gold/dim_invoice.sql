select {{ key(['invoice_no', 'sale_date::text']) }} as invoice_key, sale_month, sale_date, invoice_no, min(invoiced_at) as invoice_date,
    bool_or(is_cancelled) as is_cancelled, sum(line_amount)::numeric(18, 4) as invoice_total
from {{ ref('sales') }} group by sale_month, sale_date, invoice_no
