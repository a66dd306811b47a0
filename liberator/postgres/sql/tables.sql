-- Ordinary and partitioned user tables that write WAL: no catalogue, no extension member, not temporary, not unlogged.
-- oid: that one table only, or NULL for all. Nothing here locks a table (as pg_relation_size and pg_partition_tree do): it
-- is asked while the application may hold one locked, or wait for a lock that a snapshot holds.
SELECT c.oid,
       n.nspname AS schema,
       c.relname AS name,
       c.relkind::text AS kind,
       c.relreplident::text AS identity,
       keys.primary_key,
       keys.immediate_key,
       keys.identity_key,
       ARRAY(WITH RECURSIVE below (oid) AS (
                 SELECT c.oid
                  UNION ALL
                 SELECT i.inhrelid
                   FROM below
                   JOIN pg_catalog.pg_inherits i ON i.inhparent = below.oid AND NOT i.inhdetachpending
                  WHERE c.relkind = 'p'
             )
             SELECT leaf.oid
               FROM below
               JOIN pg_catalog.pg_class leaf ON leaf.oid = below.oid
              WHERE leaf.relkind <> 'p') AS leaves,
       ARRAY(SELECT a.relid::pg_catalog.oid
               FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY a(relid, nr)
              WHERE c.relispartition AND a.relid::pg_catalog.oid <> c.oid
              ORDER BY a.nr) AS ancestors,
       c.reltuples::bigint AS rows,
       pg_catalog.row_security_active(c.oid) AS hides_rows,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
           OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT') AS readable
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
       SELECT pg_catalog.max(k.names) FILTER (WHERE k.is_primary) AS primary_key,
              pg_catalog.max(k.names) FILTER (WHERE k.is_primary AND k.is_immediate) AS immediate_key,
              pg_catalog.max(k.names) FILTER (WHERE k.is_identity AND k.is_immediate) AS identity_key
         FROM (SELECT i.indisprimary AS is_primary,
                      i.indimmediate AS is_immediate,
                      i.indisreplident AS is_identity,
                      ARRAY(SELECT a.attname::text
                              FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY p(attnum, nr)
                              JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = p.attnum
                             WHERE p.nr <= i.indnkeyatts
                             ORDER BY p.nr) AS names
                 FROM pg_catalog.pg_index i
                WHERE i.indrelid = c.oid AND i.indisvalid AND (i.indisprimary OR i.indisreplident)) k
       ) keys
 WHERE (%(oid)s::pg_catalog.oid IS NULL OR c.oid = %(oid)s::pg_catalog.oid)
   AND c.relkind IN ('r', 'p')
   AND c.relpersistence = 'p'
   AND n.nspname <> 'information_schema'
   AND n.nspname NOT LIKE 'pg\_%%'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
