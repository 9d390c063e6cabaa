-- Run once by the administrator of a PostgreSQL server (17 or newer) with psql: the platform's two databases and roles.
-- docker-compose.yml runs it when the server is new. The password is read from POSTGRES_PASSWORD.
\getenv password POSTGRES_PASSWORD
create role retail login password :'password';
-- May read schemas gold and marts; grant it to those who should.
create role retail_reader nologin;
-- Sorted by code point, as the embedded server does, so that both give the same answers.
create database retail owner retail template template0
    encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8' locale 'C';
create database dagster owner retail template template0
    encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8' locale 'C';
-- A crash that loses Dagster's last events costs a re-run; waiting for the disk on each one costs minutes a run.
alter database dagster set synchronous_commit = off;
revoke connect on database retail, dagster from public;
grant connect on database retail to retail_reader;
