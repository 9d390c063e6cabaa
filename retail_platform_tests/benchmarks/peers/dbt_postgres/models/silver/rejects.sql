select file_rank, source_row, file_name, sale_month, sale_date, raw_invoice_no as invoice_no, raw_stock_code as stock_code,
    raw_description as description, raw_quantity as quantity, raw_invoice_date as invoice_date,
    raw_unit_price as unit_price, raw_customer_id as customer_id, raw_country as country, reason, line_amount
from {{ ref('judged') }} where reason is not null
