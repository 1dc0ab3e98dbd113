/** Set to `otlp` to send spans by OpenTelemetry's standard `OTEL_EXPORTER_OTLP_…` variables; unset or `none`: no tracing. */
export const TRACING_ENV = 'SLUICE_TRACING';
