-- a statement that takes longer is an outage
SET statement_timeout = '3s';
-- what a stopped server holds locked is given free
SET idle_in_transaction_session_timeout = '5s';
-- a server that has vanished is noticed within 5 s
SET tcp_keepalives_idle = 2;
SET tcp_keepalives_interval = 1;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 5000;
-- whoever has waited for the lock of the topic must see what was committed meanwhile
SET default_transaction_isolation = 'read committed';
-- what is acknowledged survives a power failure, whatever the default of the database or the user
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
