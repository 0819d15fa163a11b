{{/* The variables of a program, as a container has them. They are one map before, so that none is there twice. */}}
{{- define "restow.environment" -}}
{{- $secrets := dict -}}
{{- range $name, $from := .root.Values.secretSettings }}{{ if include "restow.isFor" (list $ $name) }}{{ $_ := set $secrets $name $from }}{{ end }}{{ end -}}
{{- $all := mergeOverwrite (dict) .root.Values.extraEnv (include "restow.settings" . | fromJson) $secrets (include "restow.variables" . | fromYaml) -}}
{{- range $name, $value := $all }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $value.secret | quote }}, key: {{ $value.key | quote }}}
{{- else }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* `settings`, and over them those of the service. */}}
{{- define "restow.settings" -}}
{{- $own := get .root.Values.services .component | default dict -}}
{{- $all := mergeOverwrite (dict) .root.Values.settings ($own.settings | default dict) -}}
{{- range $name, $value := $all }}{{ if not (include "restow.isFor" (list $ $name)) }}{{ $_ := unset $all $name }}{{ end }}{{ end -}}
{{- toJson $all }}
{{- end }}

{{/* Not empty if a program takes the setting: a Job has no traces to send. */}}
{{- define "restow.isFor" -}}
{{- $program := index . 0 -}}
{{- if or (has $program.component (include "restow.running" $program.root | fromJsonArray)) (ne (index . 1) "RESTOW_OTLP_ENDPOINT") }}yes{{ end }}
{{- end }}

{{/* What the values say to a program, by what it uses (restow.uses): {NAME: value} or {NAME: {secret: …, key: …}}. */}}
{{- define "restow.variables" -}}
{{- $v := .root.Values -}}
{{- $uses := include "restow.uses" . | fromJsonArray -}}
{{- if has "database" $uses }}
RESTOW_DATABASE_URL: {secret: {{ $v.database.existingSecret | quote }}, key: {{ $v.database.key | quote }}}
{{- with $v.database.tls }}
{{- if .mode }}
PGSSLMODE: {{ .mode }}
{{- end }}
{{- if .existingSecret }}
PGSSLROOTCERT: /etc/restow-database/{{ .caKey }}
{{- end }}
{{- if .clientSecret }}
PGSSLCERT: /etc/restow-database-client/{{ .certKey }}
PGSSLKEY: /etc/restow-database-client/{{ .keyKey }}
{{- end }}
{{- end }}
{{- end }}
{{- if has "kafka" $uses }}
{{- include "restow.kafka" . }}
{{- end }}
{{- if has "cloud" $uses }}
RESTOW_CLOUD: {{ include "restow.cloud" .root | quote }}
{{- if eq $v.cloud.kind "openstack" }}
OS_CLIENT_CONFIG_FILE: /etc/restow-cloud/clouds.yaml
{{- with $v.cloud.settingsFile }}
RESTOW_OPENSTACK_FILE: /etc/restow-cloud/{{ . }}
{{- end }}
{{- end }}
{{- with $v.domains }}
RESTOW_DOMAINS: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- if and (has "policy" $uses) $v.policy }}
RESTOW_POLICY_FILE: /etc/restow-policy/policy.yaml
{{- end }}
{{- if and (has "keys" $uses) $v.apiKeys.existingSecret }}
RESTOW_API_KEYS_FILE: /etc/restow-keys/{{ $v.apiKeys.key }}
{{- end }}
{{- if has "keys" $uses }}
{{- if kindIs "bool" $v.secureCookie | ternary $v.secureCookie (and $v.ingress.enabled (ne $v.ingress.tlsSecret "")) }}
RESTOW_COOKIE_SECURE: "true"
{{- end }}
{{- end }}
{{- if eq .component "api" }}
RESTOW_STOP_DELAY_S: {{ $v.stopDelaySeconds | quote }}
{{- end }}
{{- if eq .component "embedded" }}
RESTOW_DATA_DIR: /data
{{- end }}
{{- end }}

{{- define "restow.kafka" }}
{{- $k := .root.Values.kafka }}
{{- $t := .root.Values.topics }}
RESTOW_KAFKA_BOOTSTRAP: {{ $k.bootstrap | quote }}
RESTOW_KAFKA_GROUP_PREFIX: {{ $k.groupPrefix | quote }}
RESTOW_KAFKA_SECURITY_PROTOCOL: {{ $k.protocol }}
{{- if hasPrefix "SASL" $k.protocol }}
RESTOW_KAFKA_SASL_MECHANISM: {{ $k.sasl.mechanism }}
{{- if $k.sasl.username }}
RESTOW_KAFKA_USERNAME: {{ $k.sasl.username | quote }}
{{- else }}
RESTOW_KAFKA_USERNAME: {secret: {{ $k.sasl.existingSecret | quote }}, key: {{ $k.sasl.usernameKey | quote }}}
{{- end }}
RESTOW_KAFKA_PASSWORD: {secret: {{ $k.sasl.existingSecret | quote }}, key: {{ $k.sasl.passwordKey | quote }}}
{{- end }}
{{- if hasSuffix "SSL" $k.protocol }}
{{- if $k.tls.existingSecret }}
RESTOW_KAFKA_CA_FILE: /etc/restow-kafka/{{ $k.tls.caKey }}
{{- end }}
{{- if $k.tls.clientSecret }}
RESTOW_KAFKA_CERT_FILE: /etc/restow-kafka-client/{{ $k.tls.certKey }}
RESTOW_KAFKA_KEY_FILE: /etc/restow-kafka-client/{{ $k.tls.keyKey }}
{{- end }}
{{- end }}
RESTOW_KAFKA_TOPIC_PREFIX: {{ $t.prefix | quote }}
RESTOW_KAFKA_PARTITIONS: {{ $t.partitions | quote }}
RESTOW_KAFKA_REPLICATION: {{ $t.replication | quote }}
{{- range $topic, $hours := $t.hours }}
RESTOW_KAFKA_{{ upper $topic }}_HOURS: {{ $hours | quote }}
{{- end }}
{{- if or (ne $t.by "job") (ne .component "topics") }}
RESTOW_KAFKA_CREATE_TOPICS: "false"
{{- end }}
{{- end }}

{{- define "restow.cloud" -}}
{{- if eq .Values.cloud.kind "openstack" }}openstack:{{ .Values.cloud.name }}
{{- else if eq .Values.cloud.kind "address" }}{{ .Values.cloud.address }}
{{- else if eq .Values.mode "embedded" }}{{ include "restow.simulated" .Values.embedded.cloud }}
{{- else }}http://{{ include "restow.name" . }}-simulated-cloud:8090
{{- end }}
{{- end }}

{{- define "restow.simulated" -}}
{{- $options := list -}}
{{- with .hosts }}{{ $options = append $options (printf "hosts=%v" .) }}{{ end -}}
{{- if not (kindIs "invalid" .serversPerHost) }}{{ $options = append $options (printf "servers-per-host=%v" .serversPerHost) }}{{ end -}}
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
{{- if and .root.Values.extraVolumeMounts (has .component (include "restow.running" .root | fromJsonArray)) }}
{{ toYaml .root.Values.extraVolumeMounts }}
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
  secret: {secretName: {{ $secret | quote }}, defaultMode: 0440}
{{- end }}
{{- if and .root.Values.extraVolumes (has .component (include "restow.running" .root | fromJsonArray)) }}
{{ toYaml .root.Values.extraVolumes }}
{{- end }}
{{- end }}

{{/* What rolls a pod besides its own specification: the policy and the content of the Secrets that it uses. Secrets are read
from the cluster, so a rendering without one (helm template) has no sum of them. */}}
{{- define "restow.checksums" -}}
{{- $v := .root.Values -}}
{{- $uses := include "restow.uses" . | fromJsonArray -}}
{{- $sums := dict -}}
{{- if and (has "policy" $uses) $v.policy }}{{ $_ := set $sums "checksum/policy" (toYaml $v.policy | sha256sum) }}{{ end -}}
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
{{- $_ := set $sums "checksum/secrets" (toJson $content | sha256sum) }}
{{- end -}}
{{- toJson $sums }}
{{- end }}
