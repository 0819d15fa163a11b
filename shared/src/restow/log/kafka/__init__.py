"""Kafka behind the log's port: who it is, what is published, what is consumed. The only importer of aiokafka.

Offsets move after the database. A consumer group's assignment is a hint and never a guard.
"""

from restow.log.kafka.access import BrokerAwayError, KafkaAccess
from restow.log.kafka.consumer import KafkaLog
from restow.log.kafka.publisher import KafkaPublisher
from restow.log.kafka.topics import TopicSettings, create_topics, wait_for_topics

__all__ = [
    "BrokerAwayError",
    "KafkaAccess",
    "KafkaLog",
    "KafkaPublisher",
    "TopicSettings",
    "create_topics",
    "wait_for_topics",
]
