-- What a person would look at to say how one relation is best read. columns: type: of a domain the one below it; cache: how
-- many numbers the sequence behind it hands out at once, NULL: there is none. Counters: since statistics began.
SELECT c.relkind::text AS kind,
       pg_catalog.row_security_active(c.oid) AS hides_rows,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
           OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT') AS readable,
       s.n_tup_ins AS inserted,
       s.n_tup_upd AS updated,
       s.n_tup_del AS deleted,
       (SELECT pg_catalog.min(t.tgname::text)
          FROM pg_catalog.pg_trigger t
         WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype::int & 18 = 18) AS before_update,
       ARRAY(SELECT pg_catalog.jsonb_build_object(
                        'name', a.attname,
                        'type', COALESCE(b.typname, y.typname),
                        'nullable', NOT (a.attnotnull OR y.typnotnull),
                        'generated', a.attgenerated <> '',
                        'cache', (SELECT pg_catalog.max(q.seqcache)
                                    FROM pg_catalog.pg_depend p
                                    JOIN pg_catalog.pg_sequence q ON q.seqrelid = p.objid
                                   WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                     AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                     AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum
                                     AND p.deptype IN ('a', 'i')))
               FROM pg_catalog.pg_attribute a
               JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
               LEFT JOIN pg_catalog.pg_type b ON y.typtype = 'd' AND b.oid = y.typbasetype
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attnum) AS columns
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
 WHERE c.oid = %(oid)s
