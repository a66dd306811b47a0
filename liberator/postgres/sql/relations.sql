-- What a query can read: tables of every kind and views, by schema and name. key: of the replica identity index, else the
-- primary key; a deferrable one is unique whenever somebody else can see it. Unlike `tables.sql` it has what writes no WAL.
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS name,
       c.relkind::text AS kind,
       c.relispartition AS is_partition,
       COALESCE(keys.identity_key, keys.primary_key) AS key,
       ARRAY(SELECT a.relid::pg_catalog.oid
               FROM pg_catalog.pg_partition_ancestors(c.oid) a(relid)
              WHERE c.relispartition AND a.relid::pg_catalog.oid <> c.oid) AS ancestors,
       c.reltuples::bigint AS rows,
       pg_catalog.row_security_active(c.oid) AS hides_rows,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
           OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT') AS readable,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_index i
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
              WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL) AS indexed
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
       SELECT pg_catalog.max(k.names) FILTER (WHERE k.is_primary) AS primary_key,
              pg_catalog.max(k.names) FILTER (WHERE k.is_identity AND c.relreplident = 'i') AS identity_key
         FROM (SELECT i.indisprimary AS is_primary,
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
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema'
   AND n.nspname NOT LIKE 'pg\_%%'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
