#!/bin/bash
# The entry point of the stand-in for apache/kafka. As there, each variable KAFKA_X_Y=v is the
# broker's property x.y=v (two underscores are one, three are a dash), CLUSTER_ID names the
# cluster, and the storage is formatted on the first start.
set -euo pipefail

properties=/opt/kafka/config/server.properties
options=(
    -XX:+UseSerialGC
    -Djava.awt.headless=true
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
    -cp "/opt/kafka-libs/*"
)

property() {
    local name=${1#KAFKA_}
    name=${name,,}
    name=${name//___/-}
    name=${name//__/:}
    name=${name//_/.}
    printf %s "${name//:/_}"
}

while IFS='=' read -r -d '' name text; do
    case $name in
        # settings of the start scripts, not of the broker
        KAFKA_VERSION | KAFKA_OPTS | KAFKA_*_OPTS | KAFKA_JMX_* | KAFKA_*LOG4J_*) ;;
        KAFKA_*) printf '%s=%s\n' "$(property "$name")" "$text" ;;
    esac
done < <(env -0) >"$properties"

read -r -a heap <<<"${KAFKA_HEAP_OPTS:--Xmx1G}"
java -XX:TieredStopAtLevel=1 "${options[@]}" kafka.tools.StorageTool format --ignore-formatted \
    --cluster-id "${CLUSTER_ID:-bGFzdHdvcmQtdGVzdHMtMQ}" --config "$properties"
exec java "${heap[@]}" "${options[@]}" kafka.Kafka "$properties"
