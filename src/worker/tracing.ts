import { Resource } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OpenTelemetryPlugin } from '@temporalio/interceptors-opentelemetry';

export interface Tracing {
  readonly plugin: OpenTelemetryPlugin;
  /** Sends what is left. */
  close(): Promise<void>;
}

/**
 * Spans of releases and their activities over OTLP/HTTP. With them, the worker bundles the workflows itself at its start
 * (about two seconds), because the interceptors have to be in the bundle.
 *
 * Loaded only then: OpenTelemetry's packages cost a start most people need not pay.
 */
export function createTracing(env: Readonly<Record<string, string | undefined>>): Tracing {
  const processor = new BatchSpanProcessor(new OTLPTraceExporter());
  const resource = new Resource({
    'service.name': env['OTEL_SERVICE_NAME'] ?? 'sluice-worker',
    'service.namespace': 'sluice',
  });
  // Workflows' spans leave the sandbox on their own way; those of activities, by default, go to a global tracer, which
  // nobody sets here.
  const provider = new BasicTracerProvider({ resource, spanProcessors: [processor] });
  const plugin = new OpenTelemetryPlugin({ resource, spanProcessor: processor, tracer: provider.getTracer('sluice') });
  return { plugin, close: () => processor.shutdown() };
}
