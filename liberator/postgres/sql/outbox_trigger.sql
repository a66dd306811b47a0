-- Writes down what happens to the rows of a table. Arguments of its triggers: the aggregate type, then the columns of the key.
-- It runs with the rights of its owner, so the application needs none on the outbox.
CREATE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $capture$
DECLARE
    keys text[] := TG_ARGV[1:];
    old_row jsonb;
    new_row jsonb;
    old_key text;
    new_key text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        old_row := to_jsonb(OLD);
        old_key := coalesce(CASE WHEN cardinality(keys) = 1 THEN old_row ->> keys[1] ELSE (
            SELECT jsonb_agg(old_row -> name ORDER BY place)::text
            FROM unnest(keys) WITH ORDINALITY AS k (name, place)) END, '');
    END IF;
    IF TG_OP <> 'DELETE' THEN
        new_row := to_jsonb(NEW);
        new_key := coalesce(CASE WHEN cardinality(keys) = 1 THEN new_row ->> keys[1] ELSE (
            SELECT jsonb_agg(new_row -> name ORDER BY place)::text
            FROM unnest(keys) WITH ORDINALITY AS k (name, place)) END, '');
    END IF;
    IF TG_OP = 'UPDATE' AND old_key IS NOT DISTINCT FROM new_key THEN
        {updated}
    ELSE
        IF old_row IS NOT NULL THEN
            {deleted}
        END IF;
        IF new_row IS NOT NULL THEN
            {created}
        END IF;
    END IF;
    RETURN NULL;
END
$capture$;
