-- Logical slots; name: that one only, or NULL for all.
SELECT s.slot_name::text AS name,
       s.plugin::text AS plugin,
       s.database::text AS database,
       s.temporary,
       s.active_pid,
       s.restart_lsn::text AS restart_lsn,
       s.confirmed_flush_lsn::text AS confirmed_lsn,
       s.wal_status,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
            ELSE pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)
        END AS retained
  FROM pg_catalog.pg_replication_slots s
 WHERE s.slot_type = 'logical' AND (%(name)s::text IS NULL OR s.slot_name = %(name)s::text)
 ORDER BY s.slot_name
