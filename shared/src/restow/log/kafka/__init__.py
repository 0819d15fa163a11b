"""Kafka behind the log's port: who it is, what is published, what is consumed. The only importer of aiokafka.

Offsets move after the database. A consumer group's assignment is a hint and never a guard.
"""

from restow.log.kafka.access import BrokerAwayError, BrokerRefusesError, KafkaAccess
from restow.log.kafka.arrangement import Arrangement, arrange_topics, held_at_most
from restow.log.kafka.consumer import KafkaLog
from restow.log.kafka.publisher import KafkaPublisher
from restow.log.kafka.topics import Topics, TopicSettings, create_topics

__all__ = [
    "Arrangement",
    "BrokerAwayError",
    "BrokerRefusesError",
    "KafkaAccess",
    "KafkaLog",
    "KafkaPublisher",
    "TopicSettings",
    "Topics",
    "arrange_topics",
    "create_topics",
    "held_at_most",
]
