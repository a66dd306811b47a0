-- The columns of one table in table order.
SELECT a.attname::text AS name,
       a.atttypid AS type,
       a.atttypmod AS typmod,
       a.attnotnull AS not_null,
       a.attstorage <> 'p' AS can_be_toasted,
       a.attgenerated <> '' AS generated
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
