import { Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import type { TemporalAccess } from './connection-options';

/** gRPC's states of a channel, as numbers. */
const CHANNEL = { ready: 2, transientFailure: 3, shutdown: 4 } as const;

/** For a retry's timer to fire and its call to fail. */
const MARGIN_MS = 100;

/** What is known of the SDK's retries of calls. */
interface Retries {
  allowed: boolean;
  /** Until then one may be waiting for its time, epoch milliseconds. */
  pendingUntil: number;
}

/** The SDK's connection, in two points friendlier to people and processes. */
export class PatientConnection extends Connection {
  #retries: Retries = { allowed: true, pendingUntil: 0 };

  static open(options: TemporalAccess, timeoutMs: number): PatientConnection {
    const retries: Retries = { allowed: true, pendingUntil: 0 };
    const defaults = defaultGrpcRetryOptions();
    const interceptor = makeGrpcRetryInterceptor({
      retryableDecider: (attempt, status) => retries.allowed && defaults.retryableDecider(attempt, status),
      delayFunction: (attempt, status) => {
        const ms = defaults.delayFunction(attempt, status);
        retries.pendingUntil = Math.max(retries.pendingUntil, Date.now() + ms);
        return ms;
      },
    });
    const connection = new PatientConnection(
      Connection.createCtorOptions({ ...options, connectTimeout: timeoutMs, interceptors: [interceptor] }),
    );
    connection.#retries = retries;
    return connection;
  }

  /**
   * Resolves when the channel stands; rejects when it cannot be made, or not by the deadline (epoch milliseconds). The
   * SDK goes on trying until its timeout, also where nobody listens. Here the first time that all addresses of the name
   * have failed is the answer: a person waits for it.
   */
  async untilDecided(deadline: number): Promise<void> {
    const channel = this.client.getChannel();
    for (;;) {
      const state: number = channel.getConnectivityState(true);
      if (state === CHANNEL.ready) return;
      if (state === CHANNEL.transientFailure || state === CHANNEL.shutdown) throw new Error('nobody answers there');
      await new Promise<void>((resolve, reject) => {
        channel.watchConnectivityState(state, deadline, (error) => (error === undefined ? resolve() : reject(error)));
      });
    }
  }

  /**
   * Closes, but not under a retry of the SDK: one that finds the channel closed throws in its timer, where nobody can
   * catch it, and ends the process. Then the channel is left to be closed after it, and nobody waits for that.
   */
  override async close(): Promise<void> {
    this.#retries.allowed = false;
    const leftMs = this.#retries.pendingUntil - Date.now();
    if (leftMs <= 0) return super.close();
    setTimeout(() => void super.close(), leftMs + MARGIN_MS).unref();
  }
}
