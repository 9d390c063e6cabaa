-- Run once by the administrator of a PostgreSQL server (17 or newer) with psql: the platform's two databases and roles.
-- docker-compose.yml runs it when the server is new. The passwords are read from POSTGRES_PASSWORD and RETAIL_API_PASSWORD.
\getenv password POSTGRES_PASSWORD
\getenv api_password RETAIL_API_PASSWORD
create role retail login password :'password';
-- May read schemas gold and marts; grant it to those who should.
create role retail_reader nologin;
-- Reads the API's users and keys, and keeps their sessions.
create role retail_access nologin;
-- The API's login owns nothing; it takes one of these roles for each connection. The platform's user may do the same.
create role retail_api login password :'api_password' noinherit in role retail_reader, retail_access;
grant retail_reader, retail_access to retail with inherit false;
-- Sorted by code point, as the embedded server does, so that both give the same answers.
create database retail owner retail template template0
    encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8' locale 'C';
create database dagster owner retail template template0
    encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8' locale 'C';
-- A crash that loses Dagster's last events costs a re-run; waiting for the disk on each one costs minutes a run.
alter database dagster set synchronous_commit = off;
revoke connect on database retail, dagster from public;
grant connect on database retail to retail_reader, retail_api;
