-- What each publication shows of each table. Before version 18 generated columns are never sent, listed or not.
SELECT c.oid,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = ANY (p.attnames)
                AND (a.attgenerated = '' OR pg_catalog.current_setting('server_version_num')::int >= 180000)
              ORDER BY a.attnum) AS columns,
       p.rowfilter AS row_filter
  FROM pg_catalog.pg_publication_tables p
  JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
 WHERE p.pubname = ANY (%(publications)s)
