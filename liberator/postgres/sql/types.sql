-- The types of `oids` and every type they are made of, one row each.
-- An array is told by its output function: int2vector and oidvector have elements too, but are written otherwise.
WITH RECURSIVE needed (oid) AS (
    SELECT asked.oid FROM pg_catalog.unnest(%(oids)s::pg_catalog.oid[]) asked (oid)
     UNION
    SELECT part.oid
      FROM needed
      JOIN pg_catalog.pg_type t ON t.oid = needed.oid
     CROSS JOIN LATERAL (
           SELECT t.typelem WHERE t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc
            UNION ALL
           SELECT t.typbasetype WHERE t.typtype = 'd'
            UNION ALL
           SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
            UNION ALL
           SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid
            UNION ALL
           SELECT a.atttypid
             FROM pg_catalog.pg_attribute a
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
           ) part (oid)
)
SELECT t.oid,
       n.nspname::text AS schema,
       t.typname::text AS name,
       CASE WHEN t.typtype IN ('d', 'e', 'c', 'r', 'm') THEN t.typtype::text
            WHEN t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc AND t.typtype = 'b' THEN 'a'
            ELSE 'b'
        END AS kind,
       CASE t.typtype
            WHEN 'd' THEN t.typbasetype
            WHEN 'r' THEN (SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid)
            WHEN 'm' THEN (SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid)
            ELSE t.typelem
        END AS element,
       t.typtypmod AS typmod,
       t.typdelim::text AS delimiter,
       ARRAY(SELECT e.enumlabel::text
               FROM pg_catalog.pg_enum e
              WHERE e.enumtypid = t.oid
              ORDER BY e.enumsortorder) AS labels,
       attributes.names,
       attributes.types,
       attributes.typmods
  FROM needed
  JOIN pg_catalog.pg_type t ON t.oid = needed.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 CROSS JOIN LATERAL (
       SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) AS names,
              pg_catalog.array_agg(a.atttypid ORDER BY a.attnum) AS types,
              pg_catalog.array_agg(a.atttypmod ORDER BY a.attnum) AS typmods
         FROM pg_catalog.pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
       ) attributes
