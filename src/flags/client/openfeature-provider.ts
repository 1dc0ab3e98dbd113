import { EventEmitter } from 'node:events';
import type {
  AnyProviderEvent,
  ErrorCode,
  EvaluationContext,
  EventContext,
  EventHandler,
  JsonValue,
  Provider,
  ProviderEventEmitter,
  ResolutionDetails,
} from '@openfeature/server-sdk';
import type { VariantValue } from '../flag';
import type { FlagClient } from './flag-client';

/** OpenFeature's codes; its own names for them are an enum, and importing that would make the SDK a dependency. */
type Code = `${ErrorCode}`;

export interface FlagProviderOptions {
  /**
   * What a flag that is switched off is answered with: its default variant (`off`, the default), or the default in the
   * code (`code-default`). The reason is `DISABLED` either way.
   */
  readonly disabled?: 'off' | 'code-default';
}

/**
 * Flags of this process as a provider of OpenFeature's server SDK: evaluated in memory, so that an evaluation is no
 * request. A change is told as `PROVIDER_CONFIGURATION_CHANGED` with the flags' names, a store that was away for too long
 * as `PROVIDER_STALE`, and its return as `PROVIDER_READY`. Shutting the SDK down closes the client.
 */
export function createFlagProvider(client: FlagClient, { disabled = 'off' }: FlagProviderOptions = {}): Provider {
  const events = new ProviderEvents();
  const emit = (event: `${AnyProviderEvent}`, context?: EventContext): void =>
    events.emit(event as AnyProviderEvent, context);
  const stops = [
    client.onChange((flagsChanged) => emit('PROVIDER_CONFIGURATION_CHANGED', { flagsChanged: [...flagsChanged] })),
    client.onState((state) => {
      if (state === 'fresh') emit('PROVIDER_READY');
      else emit('PROVIDER_STALE', { message: 'the flag store does not answer; flags are answered as last known' });
    }),
  ];
  return {
    runsOn: 'server',
    metadata: { name: 'sluice' },
    events,
    initialize: () =>
      client.state === 'empty' ? Promise.reject(new Error('no flags could be loaded yet')) : Promise.resolve(),
    onClose: async () => {
      for (const stop of stops) stop();
      await client.close();
    },
    resolveBooleanEvaluation: (flag, byDefault, context) =>
      Promise.resolve(
        resolve(client, { flag, byDefault, context, disabled, is: (value) => typeof value === 'boolean' }),
      ),
    resolveStringEvaluation: (flag, byDefault, context) =>
      Promise.resolve(
        resolve(client, { flag, byDefault, context, disabled, is: (value) => typeof value === 'string' }),
      ),
    resolveNumberEvaluation: (flag, byDefault, context) =>
      Promise.resolve(
        resolve(client, { flag, byDefault, context, disabled, is: (value) => typeof value === 'number' }),
      ),
    resolveObjectEvaluation: <T extends JsonValue>(flag: string, byDefault: T, context: EvaluationContext) =>
      Promise.resolve(resolve<T>(client, { flag, byDefault, context, disabled, is: isObjectOf<T> })),
  };
}

interface Wanted<T> {
  readonly flag: string;
  readonly byDefault: T;
  readonly context: EvaluationContext;
  readonly disabled: 'off' | 'code-default';
  readonly is: (value: unknown) => boolean;
}

function resolve<T>(client: FlagClient, { flag, byDefault, context, disabled, is }: Wanted<T>): ResolutionDetails<T> {
  const { targetingKey, environment } = context;
  const named = typeof environment === 'string' ? environment : undefined;
  const checked = client.check(flag, targetingKey, named);
  switch (checked.kind) {
    case 'answered': {
      const { value, variant, reason, rule, bucket } = checked.evaluation;
      if (!is(value)) return failed(byDefault, 'TYPE_MISMATCH', `${flag} is a ${typeof value}.`);
      const flagMetadata = { rule, ...(bucket === null ? {} : { bucket }) };
      if (reason === 'DISABLED' && disabled === 'code-default') return { value: byDefault, reason, flagMetadata };
      return { value: value as VariantValue as T, variant, reason, flagMetadata };
    }
    case 'unknown':
      return failed(byDefault, 'FLAG_NOT_FOUND', `There is no flag ${flag}.`);
    case 'unavailable':
      return failed(byDefault, 'PROVIDER_NOT_READY', 'No flags were loaded yet.');
    case 'user-missing':
      return failed(byDefault, 'TARGETING_KEY_MISSING', `${flag} depends on the user.`);
    default:
      return checked satisfies never;
  }
}

function failed<T>(value: T, code: Code, errorMessage: string): ResolutionDetails<T> {
  return { value, reason: 'ERROR', errorCode: code as ErrorCode, errorMessage };
}

function isObjectOf<T>(value: unknown): value is T {
  return typeof value === 'object';
}

/** The emitter the SDK listens to, in the shape it asks for. */
class ProviderEvents implements ProviderEventEmitter<AnyProviderEvent> {
  readonly #emitter = new EventEmitter();
  readonly #handlers = new Map<string, EventHandler[]>();

  emit(event: AnyProviderEvent, context?: EventContext): void {
    this.#emitter.emit(event, context);
  }

  addHandler(event: AnyProviderEvent, handler: EventHandler): void {
    this.#emitter.on(event, handler as (details?: unknown) => void);
    this.#handlers.set(event, [...this.getHandlers(event), handler]);
  }

  removeHandler(event: AnyProviderEvent, handler: EventHandler): void {
    this.#emitter.off(event, handler as (details?: unknown) => void);
    this.#handlers.set(
      event,
      this.getHandlers(event).filter((one) => one !== handler),
    );
  }

  removeAllHandlers(event?: AnyProviderEvent): void {
    this.#emitter.removeAllListeners(event);
    if (event === undefined) this.#handlers.clear();
    else this.#handlers.delete(event);
  }

  getHandlers(event: AnyProviderEvent): EventHandler[] {
    return this.#handlers.get(event) ?? [];
  }

  setLogger(): this {
    return this;
  }
}
