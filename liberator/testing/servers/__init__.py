"""Real servers on loopback for tests and for the demo: PostgreSQL with logical decoding, MariaDB, and
Apache Kafka.

Enters: what the machine has (an environment variable with a URL, a Docker daemon, installed programs and
jars). Leaves: servers that are started, stopped, killed and frozen at will, and that die with the process
that started them. `find_postgres`, `find_mariadb` and `find_kafka` choose; `PostgresServer` and `KafkaServer` are always run
from local programs.
Nothing here is imported by the data path.
"""

from liberator.testing.servers.apicurio import ApicurioServer, GivenRegistry, Registry, apicurio_home
from liberator.testing.servers.find import find_kafka, find_mariadb, find_postgres, find_registry
from liberator.testing.servers.kafka import GivenKafka, Kafka, KafkaServer, kafka_jars
from liberator.testing.servers.mariadb import GivenMariaDb, MariaDb, MariaDbServer, mariadb_programs
from liberator.testing.servers.postgres import GivenPostgres, Postgres, PostgresServer, postgres_bin
from liberator.testing.servers.process import ServerError

__all__ = [
    "ApicurioServer",
    "GivenKafka",
    "GivenMariaDb",
    "GivenPostgres",
    "GivenRegistry",
    "Kafka",
    "KafkaServer",
    "MariaDb",
    "MariaDbServer",
    "Postgres",
    "PostgresServer",
    "Registry",
    "ServerError",
    "apicurio_home",
    "find_kafka",
    "find_mariadb",
    "find_postgres",
    "find_registry",
    "kafka_jars",
    "mariadb_programs",
    "postgres_bin",
]
