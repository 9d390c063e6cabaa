select country_key, sale_month, {{ sales_measures() }}
from (select *, date_trunc('month', sale_date::timestamp)::date as sale_month from {{ ref('invoice_measures') }}) as invoices
group by country_key, sale_month
