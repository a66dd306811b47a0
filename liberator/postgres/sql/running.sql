-- Transactions that may still commit something here: those of sessions of this database, our own and the server's helpers
-- left out, and prepared ones. A session's transaction is known by its virtual id, from its first statement on: it may have
-- taken a number or a time before it has an id of its own.
SELECT l.virtualtransaction AS transaction
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
   AND a.datname = pg_catalog.current_database() AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
 UNION ALL
SELECT 'prepared ' || p.transaction
  FROM pg_catalog.pg_prepared_xacts p
 WHERE p.database = pg_catalog.current_database()
