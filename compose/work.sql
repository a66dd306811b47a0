-- What the application of the docker-compose demo does, twice a second for five minutes.
SELECT format(
    'INSERT INTO orders (customer_id, total) VALUES (%s, %s);'
    'UPDATE orders SET status = ''paid'' WHERE id = %s;'
    'DELETE FROM orders WHERE id = %s;'
    'SELECT pg_sleep(0.5);',
    1 + n % 100, n * 1.25, n, n - 50)
  FROM generate_series(1, 600) n
\gexec
