#!/usr/bin/env bash
# What is in /opt/kafka/bin of the image: the class of the program that this is called as, on the jars of the lab.
set -euo pipefail
case $(basename "$0" .sh) in
  kafka-server-start) class=kafka.Kafka ;;
  kafka-storage) class=kafka.tools.StorageTool ;;
  kafka-configs) class=kafka.admin.ConfigCommand ;;
  *) echo "$0: not one of the lab's" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086
exec java ${KAFKA_HEAP_OPTS:--Xms128m -Xmx512m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true \
  -Dlog4j2.configurationFile=/opt/kafka/bin/log4j2.xml -cp '/opt/kafka/libs/*' "$class" "$@"
