"""The log that tells the story: delivery to handlers, the embedded log, Kafka, the relay between them."""
