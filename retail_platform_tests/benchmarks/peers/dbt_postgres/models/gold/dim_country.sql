select * from (values (-1::bigint, null::text, 'Unspecified'), (-2, null, 'European Community'), (-3, null, 'Channel Islands'),
    (-4, null, 'West Indies')) as unknown (country_key, country_code, country_name)
union all
select {{ key(['country_code']) }}, country_code, country_name from {{ source('raw', 'countries') }}
