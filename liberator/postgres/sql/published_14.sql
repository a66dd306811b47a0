-- PostgreSQL 14: a publication shows whole tables.
SELECT c.oid,
       NULL::text[] AS columns,
       NULL::text AS row_filter
  FROM pg_catalog.pg_publication_tables p
  JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
 WHERE p.pubname = ANY (%(publications)s)
