select file_rank, source_row, file_name, sale_month, sale_date, invoiced_at, invoice_no, stock_code, description, quantity,
    unit_price::numeric(18, 4) as unit_price, line_amount::numeric(18, 4) as line_amount, customer_id, country, line_type,
    is_cancelled
from {{ ref('judged') }} where reason is null
