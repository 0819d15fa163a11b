{{/* The variables of a program, by what it uses (restow.uses). Later ones win: settings given by name come last. */}}
{{- define "restow.environment" -}}
{{- $v := .root.Values -}}
{{- $uses := include "restow.uses" . | fromJsonArray -}}
{{- if has "database" $uses }}
- name: RESTOW_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ $v.database.existingSecret }}, key: {{ $v.database.key }}}
{{- with $v.database.tls }}
{{- if .mode }}
- {name: PGSSLMODE, value: {{ .mode }}}
{{- end }}
{{- if .existingSecret }}
- {name: PGSSLROOTCERT, value: /etc/restow-database/{{ .caKey }}}
{{- end }}
{{- if .clientSecret }}
- {name: PGSSLCERT, value: /etc/restow-database-client/{{ .certKey }}}
- {name: PGSSLKEY, value: /etc/restow-database-client/{{ .keyKey }}}
{{- end }}
{{- end }}
{{- end }}
{{- if has "kafka" $uses }}
{{- include "restow.kafka" . }}
{{- end }}
{{- if has "cloud" $uses }}
- name: RESTOW_CLOUD
  value: {{ include "restow.cloud" .root | quote }}
{{- if eq $v.cloud.kind "openstack" }}
- {name: OS_CLIENT_CONFIG_FILE, value: /etc/restow-cloud/clouds.yaml}
{{- with $v.cloud.settingsFile }}
- {name: RESTOW_OPENSTACK_FILE, value: /etc/restow-cloud/{{ . }}}
{{- end }}
{{- end }}
{{- with $v.domains }}
- {name: RESTOW_DOMAINS, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- if and (has "policy" $uses) $v.policy }}
- {name: RESTOW_POLICY_FILE, value: /etc/restow-policy/policy.yaml}
{{- end }}
{{- if and (has "keys" $uses) $v.apiKeys.existingSecret }}
- {name: RESTOW_API_KEYS_FILE, value: /etc/restow-keys/{{ $v.apiKeys.key }}}
{{- end }}
{{- if eq .component "api" }}
- {name: RESTOW_STOP_DELAY_S, value: {{ $v.stopDelaySeconds | quote }}}
{{- end }}
{{- $own := get $v.services .component | default dict -}}
{{- range $name, $value := mergeOverwrite (dict) $v.settings ($own.settings | default dict) }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range $name, $from := $v.secretSettings }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $from.secret }}, key: {{ $from.key }}}
{{- end }}
{{- end }}

{{- define "restow.kafka" }}
{{- $k := .root.Values.kafka }}
{{- $t := .root.Values.topics }}
- {name: RESTOW_KAFKA_BOOTSTRAP, value: {{ $k.bootstrap | quote }}}
- {name: RESTOW_KAFKA_SECURITY_PROTOCOL, value: {{ $k.protocol }}}
{{- if hasPrefix "SASL" $k.protocol }}
- {name: RESTOW_KAFKA_SASL_MECHANISM, value: {{ $k.sasl.mechanism }}}
- name: RESTOW_KAFKA_USERNAME
  {{- if $k.sasl.username }}
  value: {{ $k.sasl.username | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef: {name: {{ $k.sasl.existingSecret }}, key: {{ $k.sasl.usernameKey }}}
  {{- end }}
- name: RESTOW_KAFKA_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $k.sasl.existingSecret }}, key: {{ $k.sasl.passwordKey }}}
{{- end }}
{{- if hasSuffix "SSL" $k.protocol }}
{{- if $k.tls.existingSecret }}
- {name: RESTOW_KAFKA_CA_FILE, value: /etc/restow-kafka/{{ $k.tls.caKey }}}
{{- end }}
{{- if $k.tls.clientSecret }}
- {name: RESTOW_KAFKA_CERT_FILE, value: /etc/restow-kafka-client/{{ $k.tls.certKey }}}
- {name: RESTOW_KAFKA_KEY_FILE, value: /etc/restow-kafka-client/{{ $k.tls.keyKey }}}
{{- end }}
{{- end }}
- {name: RESTOW_KAFKA_PARTITIONS, value: {{ $t.partitions | quote }}}
- {name: RESTOW_KAFKA_REPLICATION, value: {{ $t.replication | quote }}}
- {name: RESTOW_KAFKA_TELEMETRY_HOURS, value: {{ $t.hours.telemetry | quote }}}
- {name: RESTOW_KAFKA_COMMANDS_HOURS, value: {{ $t.hours.commands | quote }}}
- {name: RESTOW_KAFKA_HEALING_HOURS, value: {{ $t.hours.healing | quote }}}
- {name: RESTOW_KAFKA_DEAD_HOURS, value: {{ $t.hours.dead | quote }}}
{{- if or (ne $t.by "job") (ne .component "topics") }}
- {name: RESTOW_KAFKA_CREATE_TOPICS, value: "false"}
{{- end }}
{{- end }}

{{- define "restow.cloud" -}}
{{- if eq .Values.cloud.kind "simulated" }}http://{{ include "restow.name" . }}-simulated-cloud:8090
{{- else if eq .Values.cloud.kind "openstack" }}openstack:{{ .Values.cloud.name }}
{{- else }}{{ .Values.cloud.address }}
{{- end }}
{{- end }}

{{- define "restow.simulated" -}}
{{- $options := list -}}
{{- with .hosts }}{{ $options = append $options (printf "hosts=%v" .) }}{{ end -}}
{{- with .serversPerHost }}{{ $options = append $options (printf "servers-per-host=%v" .) }}{{ end -}}
{{- with .domains }}{{ $options = append $options (printf "domains=%s" (join "," .)) }}{{ end -}}
simulated:{{ with $options }}?{{ join "&" . }}{{ end }}
{{- end }}

{{/* The Secrets that become files of a program: {volume: Secret}. */}}
{{- define "restow.secretFiles" -}}
{{- $v := .root.Values -}}
{{- $uses := include "restow.uses" . | fromJsonArray -}}
{{- $files := dict -}}
{{- if has "database" $uses }}
{{- with $v.database.tls.existingSecret }}{{ $_ := set $files "database" . }}{{ end }}
{{- with $v.database.tls.clientSecret }}{{ $_ := set $files "database-client" . }}{{ end }}
{{- end }}
{{- if and (has "kafka" $uses) (hasSuffix "SSL" $v.kafka.protocol) }}
{{- with $v.kafka.tls.existingSecret }}{{ $_ := set $files "kafka" . }}{{ end }}
{{- with $v.kafka.tls.clientSecret }}{{ $_ := set $files "kafka-client" . }}{{ end }}
{{- end }}
{{- if and (has "cloud" $uses) (eq $v.cloud.kind "openstack") }}{{ $_ := set $files "cloud" $v.cloud.existingSecret }}{{ end }}
{{- if has "keys" $uses }}{{ with $v.apiKeys.existingSecret }}{{ $_ := set $files "keys" . }}{{ end }}{{ end }}
{{- with $v.secretFiles }}{{ $_ := set $files "files" . }}{{ end }}
{{- toJson $files }}
{{- end }}

{{- define "restow.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if and (has "policy" (include "restow.uses" . | fromJsonArray)) .root.Values.policy }}
- {name: policy, mountPath: /etc/restow-policy, readOnly: true}
{{- end }}
{{- range $name, $secret := include "restow.secretFiles" . | fromJson }}
- {name: {{ $name }}, mountPath: /etc/restow-{{ $name }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "restow.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- if and (has "policy" (include "restow.uses" . | fromJsonArray)) .root.Values.policy }}
- name: policy
  configMap: {name: {{ include "restow.name" .root }}-policy}
{{- end }}
{{- range $name, $secret := include "restow.secretFiles" . | fromJson }}
- name: {{ $name }}
  secret: {secretName: {{ $secret }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* What rolls a pod besides its own specification: the policy and the content of the Secrets that it uses. Secrets are read
from the cluster, so a rendering without one (helm template) has no sum of them. */}}
{{- define "restow.checksums" -}}
{{- $v := .root.Values -}}
{{- $uses := include "restow.uses" . | fromJsonArray -}}
{{- if and (has "policy" $uses) $v.policy }}
checksum/policy: {{ toYaml $v.policy | sha256sum }}
{{- end }}
{{- if $v.rollOnSecretChange }}
{{- $names := values (include "restow.secretFiles" . | fromJson) -}}
{{- if has "database" $uses }}{{ $names = append $names $v.database.existingSecret }}{{ end -}}
{{- if and (has "kafka" $uses) (hasPrefix "SASL" $v.kafka.protocol) }}{{ $names = append $names $v.kafka.sasl.existingSecret }}{{ end -}}
{{- range $v.secretSettings }}{{ $names = append $names .secret }}{{ end -}}
{{- $content := list -}}
{{- range uniq $names | sortAlpha }}
{{- $found := lookup "v1" "Secret" $.root.Release.Namespace . -}}
{{- $content = append $content (dict "name" . "data" ($found.data | default dict)) -}}
{{- end }}
checksum/secrets: {{ toJson $content | sha256sum }}
{{- end }}
{{- with $v.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
